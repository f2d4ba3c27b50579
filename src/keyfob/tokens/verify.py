# SPDX-License-Identifier: Apache-2.0
"""verify: from a token and whom we trust to a VerifiedToken, or an error that says why not.

How it works, in the order in which it happens:

1. ``jws`` takes the token apart. Its claims are parsed, but only ``iss`` is looked at.
2. ``iss`` picks a TrustedIssuer, by exact comparison. From here on everything is that issuer's:
   its algorithms, its types, its keys. The token chooses nothing (RFC 8725 section 3.1).
3. ``alg`` is on the issuer's list and ``typ`` among its types, so that no other kind of JWT of
   the same issuer passes for an access token (RFC 8725 section 3.12, RFC 9068 section 4).
4. ``kid`` finds a key in the issuer's own set; the key's algorithm is the token's. If the set does
   not know the name, the answer is NeedKeys: this module never fetches anything.
5. The signature. Everything before is Malformed or Untrusted, everything after a ClaimError.
6. The claims: that ``kinds`` does not know them for another JWT's, types, presence, required
   values, audience, times, lifetime, scopes, the device.

Where the issuer wants to be asked about every token (RFC 7662), a good one is not enough: the
answer is NeedIntrospection. ``verify_introspected`` makes the same checks of what the issuer says
as step 6 does of a JWT's claims, also for opaque tokens, which have nothing else.

``confirmation.check`` comes after, with what the connection proves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any, Final

from keyfob.errors import ClaimError, UntrustedTokenError
from keyfob.tokens import jws
from keyfob.tokens.claims import Claims, audience_of, invalid, missing, text_fault
from keyfob.tokens.introspected import claims_set
from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.keys import KeySet
from keyfob.tokens.kinds import other_kind
from keyfob.tokens.proof_keys import SymmetricKey, refuse_secrets, take_symmetric_key
from keyfob.tokens.signer import NeedKeys, check_algorithm, find_issuer, find_signer, shown

__all__ = [
    "MAX_DEVICE_CHARS",
    "NeedIntrospection",
    "NeedKeys",
    "TrustedIssuer",
    "VerifiedToken",
    "reverify",
    "unverified",
    "verify",
    "verify_introspected",
]

# The device becomes the MQTT client identifier or part of it, and part of topics.
MAX_DEVICE_CHARS: Final = 256

_SEAL: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """A token that was verified; only this module makes one.

    Attributes:
        issuer: By whose rules it was verified.
        claims: Its claims.
        payload: The JSON that they were read from, for ``reverify``. Without the signature that
            stood beside it, it is no token.
        key_id: The ``kid`` of the key that signed it, or that key's thumbprint; empty: nobody
            signed it, its issuer alone vouches for it.
        device: What the issuer's ``device_claim`` says: a clean, non-empty text.
        expires_at: When it stops being good: ``exp`` and the issuer's ``expiry_leeway``.
        introspected: The issuer was asked about it and said that it is active.
        proof_key: The symmetric key that it is bound to, as its issuer told it; it is in nothing
            else here, and is not to be kept. None: it is bound to none, or it was not told.
    """

    issuer: TrustedIssuer
    claims: Claims
    payload: bytes = field(repr=False)
    key_id: str
    device: str
    expires_at: float
    introspected: bool = False
    proof_key: SymmetricKey | None = field(default=None, repr=False)
    seal: InitVar[object]

    @property
    def subject(self) -> str:
        """Whose token it is: ``sub``, or the device of an issuer that writes none.

        Sessions belong to subjects, so no two devices may share an empty one.
        """
        return self.claims.subject or self.device

    @property
    def client(self) -> str:
        """Which OAuth client it was issued to; empty: nothing says.

        Where there is no ``client_id`` it is the device of an issuer that names its clients
        elsewhere, such as in ``azp``: a revocation of that client must find it.
        """
        if self.claims.client_id or self.issuer.device_claim == "sub":
            return self.claims.client_id
        return self.device

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("only keyfob.tokens.verify makes a VerifiedToken")


@dataclass(frozen=True, slots=True)
class NeedIntrospection:
    """The token can be judged only by asking its issuer (RFC 7662).

    Attributes:
        issuer: Whom to ask.
        presented: The token as verified so far; None: it is opaque.
    """

    issuer: TrustedIssuer
    presented: VerifiedToken | None = None


def verify(
    token: str | bytes,
    issuers: Mapping[str, TrustedIssuer],
    keys: Mapping[str, KeySet],
    now: float,
) -> VerifiedToken | NeedKeys | NeedIntrospection:
    """Verify an access token (RFC 9068 section 4, RFC 8725 section 3).

    Args:
        token: As presented.
        issuers: Whom we trust, by their ``iss``.
        keys: The key sets at hand, by ``iss``.
        now: Seconds since 1970.

    Returns:
        The verified token, or what is needed to judge it.

    Raises:
        MalformedTokenError: Not a compact JWS with a JSON claims set.
        UntrustedTokenError: Issuer, algorithm, type, key or signature is not trusted.
        ClaimError: A trusted signature over claims that say no.
    """
    parsed = jws.parse_compact(token)
    members = jws.json_object(parsed.payload, "claims set")
    issuer = find_issuer(members.get("iss"), issuers)
    _check_header(parsed.header, issuer)
    key = find_signer(parsed, issuer, keys.get(issuer.issuer))
    if isinstance(key, NeedKeys):
        return key
    claims = _claims(members, issuer)
    _require(claims, issuer)
    _check_claims(claims, issuer, now)
    refuse_secrets(members)
    verified = VerifiedToken(
        issuer=issuer,
        claims=claims,
        payload=parsed.payload,
        key_id=key.key_id,
        device=_device(claims, issuer.device_claim),
        expires_at=claims.expires_at + issuer.expiry_leeway,
        seal=_SEAL,
    )
    return NeedIntrospection(issuer, verified) if issuer.introspect == "always" else verified


def verify_introspected(
    members: Mapping[str, Any],
    issuer: TrustedIssuer,
    now: float,
    *,
    presented: VerifiedToken | None = None,
) -> VerifiedToken:
    """Verify what an issuer says about an active token (RFC 7662 section 2.2).

    The claims are checked as a JWT's are. RFC 9068's required claims are not asked for: nearly
    every member is optional here.

    Args:
        members: The active answer, from ``introspected.active_members``.
        issuer: Who was asked.
        now: Seconds since 1970.
        presented: The token itself, if it is a JWT that was verified. It never outlives its own
            ``exp``, whatever the issuer answers.

    Raises:
        UntrustedTokenError: Of another issuer, or no access token.
        ClaimError: A claim says no, or is not what the token itself says.
    """
    own = None if presented is None else presented.claims.members
    members, proof_key = take_symmetric_key(claims_set(members, issuer, own))
    claims = _claims(members, issuer)
    if claims.issuer != issuer.issuer:
        raise UntrustedTokenError(
            f"{issuer.name} says that the token's issuer is {shown(claims.issuer)}",
            code="issuer_unknown",
        )
    device = _device(claims, issuer.device_claim)
    if presented is not None:
        if device != presented.device:
            raise invalid(issuer.device_claim, "is not what the issuer says of the token")
        if presented.claims.expires_at < claims.expires_at:
            members = {**members, "exp": presented.claims.expires_at}
            claims = _claims(members, issuer)
    _check_claims(claims, issuer, now)
    return VerifiedToken(
        issuer=issuer,
        claims=claims,
        payload=json.dumps(members).encode(),
        key_id="" if presented is None else presented.key_id,
        device=device,
        expires_at=claims.expires_at + issuer.expiry_leeway,
        introspected=True,
        proof_key=proof_key,
        seal=_SEAL,
    )


def reverify(
    payload: bytes,
    issuers: Mapping[str, TrustedIssuer],
    now: float,
    *,
    key_id: str,
    past_end: bool = False,
    introspected: bool = False,
) -> VerifiedToken:
    """Judge the claims of a token again whose signature was verified when its session began.

    Whom we trust, and how far, may have changed since. What the token is signed with is not known
    any more, so a change of algorithms, types or keys counts from its bearer's next CONNECT on.

    Args:
        payload: The ``payload`` of the verified token.
        issuers: Whom we trust now, by their ``iss``.
        now: Seconds since 1970.
        key_id: Its ``key_id``; empty for claims that nobody signed, to see what they would allow.
        past_end: Whether one that has run out is accepted: ``expires_at`` tells.
        introspected: Whether its issuer was asked about it.

    Raises:
        TokenError: It would be refused.
    """
    members = jws.json_object(payload, "claims set")
    issuer = find_issuer(members.get("iss"), issuers)
    claims = _claims(members, issuer)
    if not introspected:
        _require(claims, issuer)
    moment = min(now, math.nextafter(claims.expires_at, 0.0)) if past_end else now
    _check_claims(claims, issuer, moment)
    return VerifiedToken(
        issuer=issuer,
        claims=claims,
        payload=payload,
        key_id=key_id,
        device=_device(claims, issuer.device_claim),
        expires_at=claims.expires_at + issuer.expiry_leeway,
        introspected=introspected,
        seal=_SEAL,
    )


def unverified(token: str | bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Show a token's header and claims to a person; NOTHING in them is verified.

    Any three segments of base64url, the first two of which are JSON objects, are shown, whatever
    they say: an algorithm of ``none``, an unknown issuer, a missing signature.

    Raises:
        MalformedTokenError: Not that.
    """
    header, payload, signature, _ = jws.segments(token)
    jws.octets(signature, "signature")
    return (
        jws.json_object(jws.octets(header, "header"), "header"),
        jws.json_object(jws.octets(payload, "payload"), "claims set"),
    )


def _check_header(header: jws.Header, issuer: TrustedIssuer) -> None:
    check_algorithm(header, issuer)
    if header.typ not in issuer.types:
        raise UntrustedTokenError(
            f"the token is of type {shown(header.typ)}, not an access token of {issuer.name}",
            code="type_refused",
        )


def _claims(members: Mapping[str, Any], issuer: TrustedIssuer) -> Claims:
    if kind := other_kind(members):
        raise UntrustedTokenError(f"the token is {kind}, not an access token", code="type_refused")
    return Claims.parse(
        members, audience_claim=issuer.audience_claim, scope_claim=issuer.scope_claim
    )


def _require(claims: Claims, issuer: TrustedIssuer) -> None:
    for name in issuer.required_claims:
        if name not in claims.members:
            raise missing(name)


def _check_claims(claims: Claims, issuer: TrustedIssuer, now: float) -> None:
    for name, expected in issuer.required_values:
        value = claims.get(name)
        if value is None:
            raise missing(name)
        if value != expected:
            raise invalid(name, f"is not {expected!r}")
    _check_audience(claims, issuer)
    _check_times(claims, issuer, now)
    if absent := issuer.required_scopes.difference(claims.scope):
        raise ClaimError(
            f"the token lacks the scope {' '.join(sorted(absent))}",
            code="scope_missing",
            claim=issuer.scope_claim,
        )


def _check_audience(claims: Claims, issuer: TrustedIssuer) -> None:
    named = [(issuer.audience_claim, claims.audience)]
    if issuer.audience_claim != "aud" and "aud" in claims.members:
        # RFC 7519 section 4.1.3: an aud that is there and does not name us refuses the token.
        named.append(("aud", audience_of(claims.members)))
    for claim, values in named:
        if issuer.audiences.isdisjoint(values):
            raise ClaimError(
                f"the token is not for {', '.join(sorted(issuer.audiences))}",
                code="audience_mismatch",
                claim=claim,
            )


def _check_times(claims: Claims, issuer: TrustedIssuer, now: float) -> None:
    # Every comparison is written so that a NaN refuses.
    if not now < claims.expires_at + issuer.expiry_leeway:
        raise ClaimError("the token has expired", code="token_expired", claim="exp")
    latest = now + issuer.leeway
    for name, date in (("nbf", claims.not_before), ("iat", claims.issued_at)):
        if date is None:
            continue
        if not date <= latest:
            raise ClaimError(
                "the token is not valid yet" if name == "nbf" else "the token is from the future",
                code="token_not_yet_valid",
                claim=name,
            )
        if not date < claims.expires_at:
            raise invalid("exp", f"is not after {name}")
    if issuer.max_lifetime is None:
        return
    if claims.issued_at is None:
        raise missing("iat")
    if not claims.expires_at - claims.issued_at <= issuer.max_lifetime:
        raise ClaimError(
            f"the token lives longer than {issuer.max_lifetime} seconds",
            code="lifetime_too_long",
            claim="exp",
        )


def _device(claims: Claims, path: str) -> str:
    value = claims.get(path)
    if value is None:
        raise missing(path)
    if fault := text_fault(value, MAX_DEVICE_CHARS):
        raise invalid(path, fault)
    return str(value)

# SPDX-License-Identifier: Apache-2.0
"""verify: from a token and whom we trust to a VerifiedToken, or an error that says why not.

How it works, in the order in which it happens:

1. ``jws`` takes the token apart. Its claims are parsed, but only ``iss`` is looked at.
2. ``iss`` picks a TrustedIssuer, by exact comparison. From here on everything is that issuer's:
   its algorithms, its types, its keys. The token chooses nothing (RFC 8725 section 3.1).
3. ``alg`` is on the issuer's list and ``typ`` among its types, so that no other kind of JWT of
   the same issuer passes for an access token (RFC 8725 section 3.12, RFC 9068 section 4);
   ``kinds`` looks at the claims where ``typ`` says nothing.
4. ``kid`` finds a key in the issuer's own set; the key's algorithm is the token's. If the set does
   not know the name, the answer is NeedKeys: this module never fetches anything.
5. The signature. Everything before is Malformed or Untrusted, everything after a ClaimError.
6. The claims: types, presence, audience, times, lifetime, scopes, the device.

``confirmation.check`` comes after, with what the connection proves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from typing import Any, Final

from keyfob.errors import ClaimError, UntrustedTokenError
from keyfob.tokens import jws
from keyfob.tokens.claims import Claims, invalid, missing, text_fault
from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.keys import KeySet, VerificationKey
from keyfob.tokens.kinds import other_kind

__all__ = [
    "MAX_DEVICE_CHARS",
    "NeedIntrospection",
    "NeedKeys",
    "TrustedIssuer",
    "VerifiedToken",
    "unverified",
    "verify",
]

# The device becomes the MQTT client identifier or part of it, and part of topics.
MAX_DEVICE_CHARS: Final = 256

_SEAL: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """A token that was verified; only ``verify`` makes one.

    Attributes:
        issuer: By whose rules it was verified.
        claims: Its claims.
        key_id: The ``kid`` of the key that signed it, or that key's thumbprint.
        device: What the issuer's ``device_claim`` says: a clean, non-empty text.
        expires_at: When it stops being good: ``exp`` and the issuer's ``expiry_leeway``.
    """

    issuer: TrustedIssuer
    claims: Claims
    key_id: str
    device: str
    expires_at: float
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("only keyfob.tokens.verify.verify makes a VerifiedToken")


@dataclass(frozen=True, slots=True)
class NeedKeys:
    """The token cannot be judged before the issuer's keys have been fetched (again).

    Attributes:
        issuer: Whose keys.
        kid: The key that the token names, if it names one.
        loaded: Whether a key set was at hand and did not know the key. If a fresh set does not
            know it either, the token is refused with ``refusal()``; without any set, keys are
            unavailable and the token is not to blame.
    """

    issuer: TrustedIssuer
    kid: str | None
    loaded: bool = False

    def refusal(self) -> UntrustedTokenError:
        """Make the error for a token whose key the issuer's current set does not know."""
        return UntrustedTokenError(
            f"the issuer {self.issuer.name} has no key that the token names", code="key_unknown"
        )


@dataclass(frozen=True, slots=True)
class NeedIntrospection:
    """The token can be judged only by asking its issuer (RFC 7662)."""

    issuer: TrustedIssuer


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
    issuer = _issuer(members.get("iss"), issuers)
    _check_header(parsed.header, issuer)
    if kind := other_kind(members):
        raise UntrustedTokenError(f"the token is {kind}, not an access token", code="type_refused")
    key = _signer(parsed, issuer, keys.get(issuer.issuer))
    if isinstance(key, NeedKeys):
        return key
    claims = Claims.parse(members)
    _check_claims(claims, issuer, now)
    return VerifiedToken(
        issuer=issuer,
        claims=claims,
        key_id=key.key_id,
        device=_device(claims, issuer.device_claim),
        expires_at=claims.expires_at + issuer.expiry_leeway,
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


def _issuer(iss: object, issuers: Mapping[str, TrustedIssuer]) -> TrustedIssuer:
    if not isinstance(iss, str) or not iss:
        raise UntrustedTokenError("the token names no issuer (iss)", code="issuer_unknown")
    issuer = issuers.get(iss)
    if issuer is None or issuer.issuer != iss:
        raise UntrustedTokenError(
            f"the token's issuer {_shown(iss)} is not one that is configured",
            code="issuer_unknown",
        )
    return issuer


def _check_header(header: jws.Header, issuer: TrustedIssuer) -> None:
    if header.alg not in issuer.accepted_algorithms:
        raise UntrustedTokenError(
            f"the algorithm {_shown(header.alg)} is not one that {issuer.name} may use",
            code="algorithm_refused",
        )
    if header.typ not in issuer.types:
        raise UntrustedTokenError(
            f"the token is of type {_shown(header.typ)}, not an access token of {issuer.name}",
            code="type_refused",
        )


def _signer(
    parsed: jws.CompactJws, issuer: TrustedIssuer, key_set: KeySet | None
) -> VerificationKey | NeedKeys:
    kid = parsed.header.kid
    if key_set is None:
        return NeedKeys(issuer, kid)
    candidates = key_set.find(kid, parsed.header.alg)
    for key in candidates:
        if key.verify(parsed.signing_input, parsed.signature):
            return key
    if candidates:
        raise UntrustedTokenError("the token's signature is wrong", code="signature_invalid")
    if refusal := key_set.refusal(kid):
        raise refusal
    return NeedKeys(issuer, kid, loaded=True)


def _check_claims(claims: Claims, issuer: TrustedIssuer, now: float) -> None:
    for name in issuer.required_claims:
        if name not in claims.members:
            raise missing(name)
    if issuer.audiences.isdisjoint(claims.audience):
        raise ClaimError(
            f"the token is not for {', '.join(sorted(issuer.audiences))}",
            code="audience_mismatch",
            claim="aud",
        )
    _check_times(claims, issuer, now)
    if absent := issuer.required_scopes.difference(claims.scope):
        raise ClaimError(
            f"the token lacks the scope {' '.join(sorted(absent))}",
            code="scope_missing",
            claim="scope",
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


def _shown(text: str) -> str:
    """Quote a text from a token that nobody vouches for, short and without control characters."""
    return ascii(text[:100])

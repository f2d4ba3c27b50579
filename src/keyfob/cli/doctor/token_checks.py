# SPDX-License-Identifier: Apache-2.0
"""What is in a token, as far as its bearer can read it, and what is wrong with it; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from keyfob.cli.doctor.clock_checks import LEEWAY, SLIGHT, Skew
from keyfob.cli.doctor.finding import Section, Severity, found
from keyfob.cli.shown import shown, time_of
from keyfob.device.renewal import leeway_of, renewal_age
from keyfob.device.token import Token
from keyfob.errors import MalformedTokenError, TokenError
from keyfob.tokens import jws
from keyfob.tokens.confirmation import bound_to
from keyfob.tokens.keys import KeySet
from keyfob.tokens.verify import unverified

__all__ = ["IDENTIFYING", "Seen", "check_token", "look_into"]

IDENTIFYING: Final = ("sub", "client_id", "azp")
"""Claims that issuers name the device by: Keyfob's server and most, Cognito, Keycloak and Entra."""

_SHOWN: Final = ("iss", "sub", "client_id", "azp", "aud", "scope", "scp", "jti")
_DAY: Final = 86_400.0
_ANSWERED_WITHIN: Final = 10.0
"""Seconds that an answer may take (``driving.DEADLINE``): the token was made in that time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A token, taken apart; nothing in it is verified.

    Attributes:
        token: What the server gave.
        header: The JOSE header; None: it is opaque.
        claims: The claims; empty where it is opaque.
    """

    token: Token
    header: Mapping[str, Any] | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_jwt(self) -> bool:
        """Whether its bearer can read it."""
        return self.header is not None

    @property
    def identities(self) -> dict[str, str]:
        """What may be the device's name in it, by claim."""
        named = {name: self.claims.get(name) for name in IDENTIFYING}
        return {name: value for name, value in named.items() if isinstance(value, str) and value}


def look_into(token: Token) -> Seen:
    """Take a token apart, as far as that goes."""
    try:
        header, claims = unverified(token.access_token)
    except MalformedTokenError:
        return Seen(token=token)
    return Seen(token=token, header=header, claims=claims)


def check_token(
    seen: Seen, *, issuer: str, keys: KeySet | None, skew: Skew | None, fetched: bool
) -> Section:
    """Say what a token is, and what is wrong with it.

    Args:
        seen: The token.
        issuer: Who was asked for it.
        keys: The issuer's keys; None: not known.
        skew: How the issuer's clock goes; None: not known.
        fetched: Whether it was asked for just now.
    """
    token = seen.token
    leeway = leeway_of(token.lifetime)
    facts: dict[str, object] = {
        "kind": "JWT" if seen.is_jwt else "opaque",
        "type": token.token_type,
        "bytes": len(token.access_token.encode()),
        "expires_at": time_of(token.expires_at),
        "lifetime": round(token.lifetime),
        "renewed_at_age": [
            round(renewal_age(token.lifetime, 0.0, first=False)),
            round(token.lifetime - leeway),
        ],
        "with_refresh_token": token.refresh_token is not None,
    }
    section = Section(facts=facts) | _check_lifetime(token)
    if not seen.is_jwt:
        return section | _opaque(token)
    section |= Section(facts=_claims_shown(seen))
    checks: Sequence[Callable[[], Section]] = (
        lambda: _check_algorithm(seen),
        lambda: _check_type(seen),
        lambda: _check_issuer(seen, issuer),
        lambda: _check_required(seen),
        lambda: _check_signature(seen, keys),
        lambda: _check_end(seen),
        lambda: _check_issue(seen, skew) if fetched else Section(),
        lambda: _check_confirmation(seen),
    )
    for check in checks:
        section |= check()
    return section


def _note(code: str, what: str, mend: str) -> Section:
    return found(code, what, mend, Severity.NOTE)


def _opaque(token: Token) -> Section:
    scope = {"scope": token.scope} if token.scope else {}
    return Section(facts=scope) | _note(
        "token_opaque",
        "the token is opaque: whose it is, for whom, what it allows and how it is signed can be"
        " told by its issuer alone; below is what the issuer said beside it",
        "nothing; the broker has to ask the issuer about it (introspection, RFC 7662)",
    )


def _claims_shown(seen: Seen) -> dict[str, object]:
    header = seen.header or {}
    facts: dict[str, object] = {
        name: _plain(header[name]) for name in ("alg", "typ", "kid") if name in header
    }
    facts |= {name: _plain(seen.claims[name]) for name in _SHOWN if name in seen.claims}
    others = sorted(set(seen.claims) - set(_SHOWN) - {"exp", "iat", "nbf"})
    return facts | ({"other_claims": [shown(name) for name in others]} if others else {})


def _plain(value: object) -> object:
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return [shown(entry) for entry in value]
    return value if isinstance(value, int | float) else "(not a text)"


# What a broker looks at


def _check_algorithm(seen: Seen) -> Section:
    algorithm = str((seen.header or {}).get("alg"))
    if algorithm.lower() == "none":
        return found(
            "token_algorithm",
            "the token is not signed at all: anybody can make such a one",
            "have the server sign with ES256, Ed25519 or RS256",
        )
    if algorithm.startswith("HS"):
        return found(
            "token_algorithm",
            f"the token is signed with a shared secret ({algorithm}): whoever can check it can make"
            " one, and Keyfob refuses it",
            "have the server sign with ES256, Ed25519 or RS256",
        )
    return Section()


def _check_type(seen: Seen) -> Section:
    typ = (seen.header or {}).get("typ")
    if isinstance(typ, str) and jws.media_type(typ) == "at+jwt":
        return Section()
    said = f"says {shown(typ)}" if isinstance(typ, str) else "says nothing"
    return _note(
        "token_type",
        f"its typ {said}, not at+jwt (RFC 9068 section 2.1): a guard refuses it unless its"
        " [[issuer]] is relaxed",
        'name the server\'s kind there by a preset, or write its types = ["JWT"]',
    )


def _check_issuer(seen: Seen, issuer: str) -> Section:
    named = seen.claims.get("iss")
    if named == issuer or not issuer or named is None:
        return Section()
    return found(
        "token_issuer_differs",
        f"its iss is {_plain(named)}, the metadata's issuer {issuer}: who trusts one of them does"
        " not know the other",
        "name the same issuer everywhere; a server behind a proxy must know its outer name",
    )


def _check_required(seen: Seen) -> Section:
    section = Section()
    for name in ("iss", "exp", "aud"):
        if name not in seen.claims:
            section |= found(
                "token_claim_missing",
                f"the token has no {name}, and a guard requires it",
                "configure the client at the server so that its access tokens have one"
                + (" (--audience, --resource, or an audience mapper)" if name == "aud" else ""),
            )
    return section


def _check_signature(seen: Seen, keys: KeySet | None) -> Section:
    if keys is None:
        return Section()
    try:
        parsed = jws.parse_compact(seen.token.access_token)
    except TokenError as error:
        return found("token_unreadable", error.message, "ask whoever runs the server")
    candidates = keys.find(parsed.header.kid, parsed.header.alg)
    if any(key.verify(parsed.signing_input, parsed.signature) for key in candidates):
        return Section(facts={"signature": "good"})
    refusal = keys.refusal(parsed.header.kid)
    why = refusal.message if refusal and not candidates else ""
    if not why:
        why = "it does not verify" if candidates else "none of them is called as it says"
    return Section(facts={"signature": "not good"}) | found(
        "token_signature",
        f"its signature is by none of the issuer's published keys ({why}): every broker that"
        " checks refuses it",
        "is the token meant for others, such as an API of the server itself? Name an --audience;"
        " else have the server publish its keys",
    )


# Times


def _check_lifetime(token: Token) -> Section:
    if token.lifetime <= _DAY:
        return Section()
    return _note(
        "token_lifetime",
        f"the token lives for {token.lifetime / 3600:.0f} hours: so long serves whoever gets hold"
        " of it, unless it is revoked",
        "shorten it to an hour; keyfob.device renews it",
    )


def _check_end(seen: Seen) -> Section:
    """Compare exp with what the answer said: a device goes by expires_in, a broker by exp."""
    end, issued = _number(seen.claims.get("exp")), _number(seen.claims.get("iat"))
    if end is None or issued is None:
        return Section()
    lifetime = end - issued
    if abs(lifetime - seen.token.lifetime) <= SLIGHT:
        return Section()
    return found(
        "token_lifetime_differs",
        f"the answer's expires_in is {seen.token.lifetime:.0f} s, the token's own life"
        f" {lifetime:.0f} s: a device goes by the first, a broker by the second",
        "have the server say the same in both",
    )


def _check_issue(seen: Seen, skew: Skew | None) -> Section:
    """Compare iat, which one machine of the issuer wrote, with the clock that another one shows."""
    issued, asked = _number(seen.claims.get("iat")), seen.token.obtained.wall
    if skew is None or issued is None:
        return Section()
    least, most = issued - (asked + _ANSWERED_WITHIN), issued + 1.0 - asked
    apart = max(least - skew.most, skew.least - most)
    if apart <= SLIGHT:
        return Section()
    return found(
        "token_clock_differs",
        f"its iat is at least {apart:.0f} s off the clock that the server's answers show: a broker"
        f" refuses tokens of the future, with {LEEWAY:.0f} s of leeway",
        "set the clocks of all machines of the server by NTP",
    )


def _number(value: object) -> float | None:
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_one else None  # type: ignore[arg-type]


def _check_confirmation(seen: Seen) -> Section:
    confirmation = seen.claims.get("cnf")
    if confirmation is None:
        return Section()
    bound = bound_to(confirmation) if isinstance(confirmation, Mapping) else "unknown"
    kind = bound.partition(":")[0]
    how = {
        "x5t#S256": "the certificate that the client shows in TLS (RFC 8705)",
        "jkt": "the client's DPoP key: at a broker by the method OAUTH2-DPOP",
        "jwk": "the client's key: at a broker by the method ace (RFC 9431)",
        "oct": "a symmetric key: at a broker by the method ace (RFC 9431)",
    }.get(kind, "something that Keyfob cannot check")
    return Section(facts={"cnf": shown(bound)}) | _note(
        "token_bound",
        f"the token is bound to {how}; without that proof a broker refuses it, and this command"
        " has no key to prove anything with",
        "nothing, where the device has the key; that part is not tried here",
    )

# SPDX-License-Identifier: Apache-2.0
"""Security event tokens: what an issuer says has happened (RFC 8417, OpenID SSF and CAEP 1.0).

A security event token (SET) is a JWT of its own kind, ``secevent+jwt``. It is never an access
token: it is read here and nowhere else, and nothing else is read here. Issuer, algorithm, key and
signature are judged as for access tokens, by the same configuration of the issuer.

Events of any type are carried along. What they mean here is the guard's matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from enum import StrEnum
from typing import Any, Final

from keyfob.errors import ClaimError, UntrustedTokenError
from keyfob.tokens import jws
from keyfob.tokens.claims import audience_of, date_of, invalid, missing, text_fault, text_of
from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.keys import KeySet
from keyfob.tokens.signer import NeedKeys, check_algorithm, find_issuer, find_signer, shown
from keyfob.tokens.subject_identifiers import Subject, parse_subject

__all__ = [
    "MAX_EVENTS",
    "SET_TYPE",
    "EventClaims",
    "EventType",
    "SecurityEvent",
    "SecurityEventToken",
    "verify_event_token",
]

SET_TYPE: Final = "secevent+jwt"
"""RFC 8417 section 2.3: the ``typ`` that keeps these tokens apart from all others."""

MAX_EVENTS: Final = 8
"""SSF 1.0 says one, or several names of the same; each costs work and a line in the audit."""

_MAX_TYPE_CHARS: Final = 256
_SEAL: Final = object()


class EventType(StrEnum):
    """The events that mean something here, by the URI that names them."""

    SESSION_REVOKED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
    TOKEN_CLAIMS_CHANGE = "https://schemas.openid.net/secevent/caep/event-type/token-claims-change"  # noqa: S105 - a name
    VERIFICATION = "https://schemas.openid.net/secevent/ssf/event-type/verification"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityEvent:
    """One event.

    Attributes:
        type: The URI that names its type: one of ``EventType``, or any other.
        subject: Whom it is about; None where nothing says.
        happened_at: When it happened, in Unix seconds: ``event_timestamp``, or else ``iat``.
    """

    type: str
    subject: Subject | None
    happened_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventClaims:
    """A SET's claims set (RFC 8417 section 2.2).

    Attributes:
        issuer: ``iss``.
        audience: ``aud``, as a tuple whether it was a text or an array.
        token_id: ``jti``.
        issued_at: ``iat``, in Unix seconds.
        events: ``events``.
    """

    issuer: str
    audience: tuple[str, ...]
    token_id: str
    issued_at: float
    events: tuple[SecurityEvent, ...]

    @classmethod
    def parse(cls, members: Mapping[str, Any]) -> EventClaims:
        """Give the claims their types.

        ``exp`` means nothing here: what has happened stays true.

        Raises:
            ClaimError: ``claim_missing`` or ``claim_invalid``, naming the claim.
        """
        for name in ("iss", "aud", "jti", "iat", "events"):
            if name not in members:
                raise missing(name)
        if "sub" in members:
            # SSF 1.0: the subject stands in sub_id, so that no recipient takes this for a token.
            raise invalid("sub", "has no place in a security event token")
        issued_at = date_of("iat", members["iat"])
        common = parse_subject(members["sub_id"], "sub_id") if "sub_id" in members else None
        return cls(
            issuer=text_of(members, "iss"),
            audience=audience_of(members),
            token_id=text_of(members, "jti"),
            issued_at=issued_at,
            events=_events(members["events"], common, issued_at),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityEventToken:
    """A SET that was verified; only ``verify_event_token`` makes one.

    Attributes:
        issuer: By whose rules it was verified: the transmitter.
        claims: What it says.
        key_id: The ``kid`` of the key that signed it, or that key's thumbprint.
    """

    issuer: TrustedIssuer
    claims: EventClaims
    key_id: str
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("only verify_event_token makes a SecurityEventToken")


def verify_event_token(
    token: str | bytes,
    transmitters: Mapping[str, TrustedIssuer],
    audiences: Mapping[str, str],
    keys: Mapping[str, KeySet],
    now: float,
) -> SecurityEventToken | NeedKeys:
    """Verify a security event token.

    Args:
        token: As received.
        transmitters: Who may send events, by their ``iss``.
        audiences: What we are called by each of them; its ``aud`` must say so.
        keys: The key sets at hand, by ``iss``.
        now: Seconds since 1970.

    Returns:
        The verified token, or the need for keys without which it cannot be judged.

    Raises:
        MalformedTokenError: Not a compact JWS with a JSON claims set.
        UntrustedTokenError: Issuer, algorithm, type, key or signature is not trusted.
        ClaimError: A trusted signature over claims that say no.
    """
    parsed = jws.parse_compact(token)
    members = jws.json_object(parsed.payload, "claims set")
    issuer = find_issuer(members.get("iss"), transmitters)
    check_algorithm(parsed.header, issuer)
    if parsed.header.typ != SET_TYPE:
        raise UntrustedTokenError(
            f"the token is of type {shown(parsed.header.typ)}, not {SET_TYPE}", code="type_refused"
        )
    key = find_signer(parsed, issuer, keys.get(issuer.issuer))
    if isinstance(key, NeedKeys):
        return key
    claims = EventClaims.parse(members)
    _check(claims, audiences[issuer.issuer], now + issuer.leeway)
    return SecurityEventToken(issuer=issuer, claims=claims, key_id=key.key_id, seal=_SEAL)


def _check(claims: EventClaims, audience: str, latest: float) -> None:
    if audience not in claims.audience:
        raise ClaimError(f"the token is not for {audience}", code="audience_mismatch", claim="aud")
    if not claims.issued_at <= latest:
        raise ClaimError("the token is from the future", code="token_not_yet_valid", claim="iat")
    for event in claims.events:
        if not event.happened_at <= latest:
            raise invalid("event_timestamp", "is in the future, or not in seconds since 1970")


def _events(value: object, common: Subject | None, issued_at: float) -> tuple[SecurityEvent, ...]:
    if not isinstance(value, Mapping) or not 0 < len(value) <= MAX_EVENTS:
        raise invalid("events", f"is not an object of one to {MAX_EVENTS} events")
    events = []
    for name, payload in value.items():
        if fault := text_fault(name, _MAX_TYPE_CHARS):
            raise invalid("events", f"names an event by what {fault}")
        if not isinstance(payload, Mapping):
            raise invalid("events", "has an event that is not an object")
        events.append(_event(name, payload, common, issued_at))
    return tuple(events)


def _event(
    name: str, payload: Mapping[str, Any], common: Subject | None, happened_at: float
) -> SecurityEvent:
    if name not in (EventType.SESSION_REVOKED, EventType.TOKEN_CLAIMS_CHANGE):
        return SecurityEvent(type=name, subject=common, happened_at=happened_at)
    # Drafts of CAEP had the subject in each event; where it is there it is the event's own.
    subject = parse_subject(payload["subject"], "subject") if "subject" in payload else common
    if subject is None:
        raise missing("sub_id")
    if "event_timestamp" in payload:
        happened_at = date_of("event_timestamp", payload["event_timestamp"])
    return SecurityEvent(type=name, subject=subject, happened_at=happened_at)

# SPDX-License-Identifier: Apache-2.0
"""What a security event means here: which tokens are not good any more.

``session-revoked`` and ``token-claims-change`` (CAEP 1.0) both mean that tokens issued until then
must not be used: their session is over, or what they say has become wrong. A device that is still
welcome gets a new token and comes back.

Whom an event means, member by member of its subject:

    member       format     tokens
    ""           iss_sub    with that sub               "" is a subject that is not complex
                 opaque     with that sub
                 jwt_id     with that jti
    session      jwt_id     with that jti, and no others: it says most exactly what is meant
    user         iss_sub    with that sub
                 opaque     with that sub
    device       iss_sub    with that sub; where another claim names the device, with that client
                            identifier, too
                 opaque     likewise

Everything else names nobody here. A complex subject means one session, but of its members we may
know only some, so what any of them names is ended: too much ends, never too little. An issuer
speaks for its own tokens only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from keyfob.guard.revocations import Revocation
from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.security_events import EventType, SecurityEvent
from keyfob.tokens.subject_identifiers import (
    Identifier,
    IssuerSubject,
    OpaqueId,
    OtherIdentifier,
    Subject,
    TokenId,
)

__all__ = ["Effect", "effect_of"]

_REVOKING = {
    EventType.SESSION_REVOKED.value: "session-revoked",
    EventType.TOKEN_CLAIMS_CHANGE.value: "token-claims-change",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an event does.

    Attributes:
        event: The event in a word, for people; what is not known is quoted.
        revocations: The tokens that are not good any more.
        unknown: What of its subject names nobody here, for people.
    """

    event: str
    revocations: tuple[Revocation, ...] = ()
    unknown: tuple[str, ...] = ()


def effect_of(event: SecurityEvent, issuer: TrustedIssuer, said_at: float) -> Effect:
    """Work out what an event does.

    Args:
        event: The event, from a verified token.
        issuer: Who says so; it has a ``max_lifetime``.
        said_at: When, in Unix seconds: no token that is meant was issued later.
    """
    word = _REVOKING.get(event.type)
    if word is None or event.subject is None:
        known = "verification" if event.type == EventType.VERIFICATION else ascii(event.type[:100])
        return Effect(event=known)
    until = max(event.happened_at, said_at) + float(issuer.max_lifetime or 0)
    revocations: dict[Revocation, None] = {}
    unknown: dict[str, None] = {}
    for member, identifier in _named(event.subject, issuer):
        found = tuple(_targets(member, identifier, issuer))
        if not found:
            unknown[_described(member, identifier, issuer)] = None
        for subject, client, token_id in found:
            revocation = Revocation(
                issuer=issuer.issuer,
                subject=subject,
                client_id=client,
                token_id=token_id,
                issued_before=None if token_id else event.happened_at,
                until=until,
                reason=word,
            )
            revocations[revocation] = None
    return Effect(event=word, revocations=tuple(revocations), unknown=tuple(unknown))


_Target = tuple[str | None, str | None, str | None]  # subject, client, token


def _named(subject: Subject, issuer: TrustedIssuer) -> list[tuple[str, Identifier]]:
    named = [(member, each) for member, several in subject.members.items() for each in several]
    exact: list[tuple[str, Identifier]] = [
        (member, each)
        for member, each in named
        if member == "session" and isinstance(each, TokenId) and each.issuer == issuer.issuer
    ]
    return exact or named


def _targets(member: str, identifier: Identifier, issuer: TrustedIssuer) -> Iterator[_Target]:
    if isinstance(identifier, OtherIdentifier) or _foreign(identifier, issuer):
        return
    if isinstance(identifier, TokenId):
        if member in ("", "session"):
            yield None, None, identifier.token_id
        return
    name = identifier.id if isinstance(identifier, OpaqueId) else identifier.subject
    if member in ("", "user", "device"):
        yield name, None, None
    if member == "device" and issuer.device_claim != "sub":
        yield None, name, None


def _foreign(identifier: Identifier, issuer: TrustedIssuer) -> bool:
    if isinstance(identifier, IssuerSubject | TokenId):
        return identifier.issuer != issuer.issuer
    return False


def _described(member: str, identifier: Identifier, issuer: TrustedIssuer) -> str:
    if isinstance(identifier, OtherIdentifier):
        kind = ascii(identifier.format)
    else:
        kind = "of another issuer" if _foreign(identifier, issuer) else type(identifier).__name__
    return f"{member!a} {kind}" if member else kind

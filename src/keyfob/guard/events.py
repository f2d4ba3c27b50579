# SPDX-License-Identifier: Apache-2.0
"""Takes in security events: acknowledged when what they revoke is on the disk (RFC 8417, 8935).

Theory of operation. A security event token (SET) is verified with the keys of the issuer that it
names, which must be one that may send events. What its events revoke takes effect at once; the
token counts as taken in, and is acknowledged, when the revocations and the note that it was taken
in are committed in one transaction. Whatever keeps us from that (no keys, a full disk) is
"unavailable", not "refused": the transmitter keeps the event and sends it again.

What has no effect is acknowledged, too, and told to the audit: a type or a subject that is not
known, a token that came before, one so old that every token it could mean has expired.
"""

from __future__ import annotations

import asyncio
import hmac
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol

from keyfob.authorization.decision import DenyReason
from keyfob.errors import ConfigError, TokenError, UpstreamError
from keyfob.guard.audit import AuditEvent, AuditLog, Outcome
from keyfob.guard.database import Change
from keyfob.guard.event_effects import Effect, effect_of
from keyfob.guard.key_sources import KeySource
from keyfob.guard.revocations import Revocation
from keyfob.guard.seen_events import SeenEvents
from keyfob.tokens.issuers import MAX_EXPIRY_LEEWAY, TrustedIssuer
from keyfob.tokens.security_events import SecurityEventToken, verify_event_token
from keyfob.tokens.signer import NeedKeys

__all__ = [
    "EventReceiver",
    "EventRefusedError",
    "EventSource",
    "EventUnavailableError",
    "Revoker",
]

KEYS_WAIT: Final = 5.0
"""Seconds that a transmitter is kept waiting for keys: as long as a fetch may take."""

RETRY_AFTER: Final = 30
"""Seconds after which a transmitter may come again: the cooldown between two fetches of keys."""

KEPT_LONGER: Final = MAX_EXPIRY_LEEWAY + 300.0
"""Seconds for which an event matters past the lifetime of its tokens: leeway, and clocks."""

PURGE_INTERVAL: Final = 60.0
"""Seconds between two looks for events that cannot matter any more."""

_ERRORS: Final = MappingProxyType(
    {
        "issuer_unknown": "invalid_issuer",
        "audience_mismatch": "invalid_audience",
        "algorithm_refused": "invalid_key",
        "key_unknown": "invalid_key",
        "key_refused": "invalid_key",
        "signature_invalid": "authentication_failed",
    }
)
"""Codes of RFC 8935 section 2.4; of every other fault it is ``invalid_request``."""

# A clock is wrong, maybe ours: not refused, as a transmitter never repeats what was.
_AHEAD: Final = "token_not_yet_valid"
_EXPLANATIONS: Final = MappingProxyType({"type_refused": "It is not a security event token."})
"""Where a security event is refused for another reason than an access token."""


class EventRefusedError(Exception):
    """A token that is not taken in, and would not be if it came again.

    Args:
        err: The code of RFC 8935 section 2.4.
        description: Why, for the transmitter's people.
        secret: It is the secret shown beside the token that is wrong, not the token.
    """

    def __init__(self, err: str, description: str, *, secret: bool = False) -> None:
        super().__init__(description)
        self.err = err
        self.description = description
        self.secret = secret


class EventUnavailableError(Exception):
    """A token that cannot be taken in now; the transmitter is to send it again."""


class Revoker(Protocol):
    """What a guard is to security events."""

    async def revoke(
        self, *revocations: Revocation, also: Sequence[Change] = ()
    ) -> Sequence[object]:
        """Revoke tokens; return the sessions that ended, when it is on the disk.

        Args:
            revocations: What to revoke; it may be nothing.
            also: Written in the same transaction.

        Raises:
            sqlite3.Error: The disk refuses it.
            UpstreamError: They are too many.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSource:
    """An issuer that may send events.

    Attributes:
        trusted: By what rules its tokens are verified, its event tokens, too.
        keys: Where its keys come from.
        audience: What it calls us in ``aud``.
        authorization: The secret that it shows as ``Authorization: Bearer``; empty: none, its
            signature is enough.

    Raises:
        ConfigError: There is no audience, or the issuer's tokens may live for ever, so that nobody
            knows for how long an event matters.
    """

    trusted: TrustedIssuer
    keys: KeySource
    audience: str
    authorization: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        name = self.trusted.name
        if not self.audience:
            raise ConfigError(f"issuer {name}: events: name the audience that they must be for")
        if self.trusted.max_lifetime is None:
            raise ConfigError(
                f"issuer {name}: events need max_lifetime: a revocation is kept until the last "
                "token that it means has expired"
            )


class EventReceiver:
    """Takes in the events of all issuers that may send them; used in one event loop.

    Args:
        sources: Those issuers, by their ``iss``.
        guard: Who revokes.
        seen: What was taken in before; it lies in the same file as what the guard revokes.
        audit: Hears of every token.
        clock: Unix seconds.
        keys_wait: Seconds that a transmitter is kept waiting for keys.
    """

    def __init__(
        self,
        sources: Mapping[str, EventSource],
        *,
        guard: Revoker,
        seen: SeenEvents,
        audit: AuditLog,
        clock: Callable[[], float],
        keys_wait: float = KEYS_WAIT,
    ) -> None:
        self.accept_from(sources)
        self._guard = guard
        self._seen = seen
        self._audit = audit
        self._clock = clock
        self._keys_wait = keys_wait
        self._purged_at = clock()

    def accept_from(self, sources: Mapping[str, EventSource]) -> None:
        """Take events from these issuers from now on, and from no others.

        Args:
            sources: The issuers that may send events, by their ``iss``; none: nobody may.
        """
        self._sources = dict(sources)
        self._trusted = {iss: source.trusted for iss, source in sources.items()}
        self._audiences = {iss: source.audience for iss, source in sources.items()}

    def admit(self, credential: str, peer: str = "") -> None:
        """Check that anybody may send events with this secret, before one is read.

        Args:
            credential: What stood behind ``Authorization: Bearer``; empty: nothing.
            peer: The transmitter's network address, for people.

        Raises:
            EventRefusedError: Nobody may.
        """
        # All are compared, so that the time does not tell which was nearly right.
        same = [_same(source.authorization, credential) for source in self._sources.values()]
        if not any(same):
            raise self._wrong_secret(peer)

    async def receive(self, token: bytes, *, credential: str = "", peer: str = "") -> None:
        """Take a security event token in; the return is the promise that it lasts.

        Args:
            token: The body of the request.
            credential: What stood behind ``Authorization: Bearer``; empty: nothing.
            peer: The transmitter's network address, for people.

        Raises:
            EventRefusedError: It is not to be trusted, or means nothing to anybody.
            EventUnavailableError: No keys at hand, it is from the future, or the disk refuses it.
        """
        try:
            verified = await self._verify(token)
        except TokenError as error:
            # Nothing that an unverified token says goes into the audit, not even the issuer.
            explanation = _EXPLANATIONS.get(error.code) or DenyReason(error.code).explanation
            self._tell(Outcome.EVENT_REFUSED, error.code, explanation, peer=peer)
            if error.code == _AHEAD:
                raise EventUnavailableError("it is from ahead of our clock") from None
            err = _ERRORS.get(error.code, "invalid_request")
            raise EventRefusedError(err, error.message) from None
        except EventUnavailableError:
            reason = DenyReason.KEYS_UNAVAILABLE
            self._tell(Outcome.EVENT_REFUSED, reason, reason.explanation, peer=peer)
            raise
        if not _same(self._sources[verified.issuer.issuer].authorization, credential):
            raise self._wrong_secret(peer)
        await self._take_in(verified, peer)

    async def _verify(self, token: bytes) -> SecurityEventToken:
        answer = self._verify_now(token)
        if isinstance(answer, NeedKeys):
            source = self._sources[answer.issuer.issuer].keys
            flight = source.ask_again(answer.kid)
            if flight is not None:
                await asyncio.wait({flight}, timeout=self._keys_wait)
                answer = self._verify_now(token)
            elif source.scheduled() is not None:
                # It may be signed with a key newer than the last answer, whatever that said of its
                # name; and a transmitter never repeats what was refused (RFC 8935 section 2.3).
                raise EventUnavailableError("no keys at hand")
            if isinstance(answer, NeedKeys):
                if answer.loaded and source.lacks(answer.kid):
                    raise answer.refusal()
                raise EventUnavailableError("no keys at hand")
        return answer

    def _verify_now(self, token: bytes) -> SecurityEventToken | NeedKeys:
        keys = {
            iss: source.keys.keys
            for iss, source in self._sources.items()
            if source.keys.keys is not None
        }
        return verify_event_token(token, self._trusted, self._audiences, keys, self._clock())

    async def _take_in(self, token: SecurityEventToken, peer: str) -> None:
        claims, now = token.claims, self._clock()
        self._purge(now)
        if (claims.issuer, claims.token_id) in self._seen:
            return self._tell(Outcome.EVENT_IGNORED, "replayed", "It came before.", token, peer)
        lifetime = float(token.issuer.max_lifetime or 0)
        latest = max(claims.issued_at, *(event.happened_at for event in claims.events))
        until = latest + lifetime + KEPT_LONGER
        if until <= now:
            why = "All tokens that it could mean have expired."
            return self._tell(Outcome.EVENT_IGNORED, "outdated", why, token, peer)
        effects = [effect_of(event, token.issuer, claims.issued_at) for event in claims.events]
        revocations = [revocation for effect in effects for revocation in effect.revocations]
        try:
            ended = await self._guard.revoke(
                *revocations, also=(self._seen.change(claims.issuer, claims.token_id, until),)
            )
        except (sqlite3.Error, UpstreamError) as error:
            why = f"It could not be stored: {error}."
            self._tell(Outcome.EVENT_REFUSED, "storage_failed", why, token, peer)
            raise EventUnavailableError("it cannot be stored") from error
        self._seen.add(claims.issuer, claims.token_id, until)
        outcome = Outcome.EVENT_ACCEPTED if revocations else Outcome.EVENT_IGNORED
        reason = "" if revocations else "without_effect"
        return self._tell(outcome, reason, _explanation(effects, len(ended)), token, peer)

    def _wrong_secret(self, peer: str) -> EventRefusedError:
        err = "authentication_failed"
        self._tell(Outcome.EVENT_REFUSED, err, "The secret is missing or wrong.", peer=peer)
        return EventRefusedError(err, "show the secret of this stream", secret=True)

    def _purge(self, now: float) -> None:
        if not 0 <= now - self._purged_at < PURGE_INTERVAL:
            self._purged_at = now
            self._seen.purge(now)

    def _tell(
        self,
        outcome: Outcome,
        reason: str,
        explanation: str,
        token: SecurityEventToken | None = None,
        peer: str = "",
    ) -> None:
        self._audit.record(
            AuditEvent(
                time=self._clock(),
                outcome=outcome,
                reason=reason,
                explanation=explanation,
                issuer="" if token is None else token.claims.issuer,
                token_id="" if token is None else token.claims.token_id,
                peer=peer,
            )
        )


def _same(secret: str, credential: str) -> bool:
    """Compare in a time that tells nothing; where no secret is asked for any will do."""
    # A header is read as Latin-1, whatever its bytes are (RFC 9110 section 5.5).
    shown = credential.encode("latin-1", "replace")
    return not secret or hmac.compare_digest(secret.encode(), shown)


def _explanation(effects: Sequence[Effect], ended: int) -> str:
    parts = []
    for effect in effects:
        count = len(effect.revocations)
        part = f"{effect.event}: {count} revoked" if count else f"{effect.event}: no effect"
        if effect.unknown:
            part += f", nobody known as {', '.join(effect.unknown)}"
        parts.append(part)
    return f"{'; '.join(parts)}; {ended} sessions ended."

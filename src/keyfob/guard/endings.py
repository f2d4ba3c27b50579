# SPDX-License-Identifier: Apache-2.0
"""Ends sessions: marks what a revocation concerns, tells the brokers and the audit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from keyfob.authorization.decision import Decision, DenyReason
from keyfob.guard.audit import AuditEvent, AuditLog, Outcome
from keyfob.guard.revocations import Revocation, RevocationStore
from keyfob.guard.session import Change, End, EndCause, Session
from keyfob.guard.sessions import SessionStore

__all__ = ["Endings", "Listener", "ended_as_expired"]

Listener = Callable[[Change], None]
"""Told, in the event loop, what a broker has to do with a session; returns at once."""


class Endings:
    """What a guard ends, and who hears of it.

    Args:
        sessions: The sessions.
        revocations: What was revoked.
        audit: Hears of every session that ends.
        clock: Unix seconds.
    """

    def __init__(
        self,
        sessions: SessionStore,
        revocations: RevocationStore,
        audit: AuditLog,
        clock: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._revocations = revocations
        self._audit = audit
        self._clock = clock
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; return what removes it."""
        self._listeners.append(listener)
        return partial(self._listeners.remove, listener)

    def revocation_of(self, session: Session) -> Revocation | None:
        """Return a revocation that concerns a session, if there is one."""
        return self._revocations.find(
            issuer=session.issuer,
            subject=session.subject,
            client=session.client,
            token_id=session.token_id,
            issued_at=session.issued_at,
        )

    def revoke(self, revocation: Revocation) -> tuple[Session, ...]:
        """Mark and end every session that a revocation concerns; return them."""
        ended = []
        for session in self._sessions.concerned_by(revocation):
            ended.append(self._sessions.revoke(session, now=self._clock()))
            self.notify(self.tell_revoked(session, revocation))
        return tuple(ended)

    def evict(self) -> None:
        """Forget stored sessions that are too old or too many."""
        for session in self._sessions.evict(self._clock()):
            self.notify(self.tell_forgotten(session, "It was away for too long, or too many are."))

    def refuse(self, session: Session, decision: Decision) -> None:
        """End a session, live or stored, whose token would not be let in any more: it is marked."""
        self._record(session, Outcome.REVOKED, decision.reason or "", decision.detail)
        self._sessions.revoke(session, now=self._clock())
        self.notify(_end(session, EndCause.REVOKED))

    def tell_unasked(self, session: Session) -> None:
        """Have the audit hear of a session that nobody can ask its issuer about any more."""
        reason = DenyReason.INTROSPECTION_UNAVAILABLE
        why = "Its token is not known any more, so that its issuer cannot be asked about it."
        self._record(session, Outcome.REVOKED, reason, why)

    def tell_distrusted(self, session: Session) -> None:
        """Have the audit hear of a session that ends because its issuer is trusted no more."""
        why = "Its issuer is not trusted any more."
        self._record(session, Outcome.REVOKED, DenyReason.ISSUER_UNKNOWN, why)

    def tell_revoked(self, session: Session, revocation: Revocation) -> End:
        """Have the audit hear of a revoked session; return what its broker is to be told."""
        why = f" ({revocation.reason})" if revocation.reason else ""
        explanation = f"{DenyReason.TOKEN_REVOKED.explanation}{why}"
        self._record(session, Outcome.REVOKED, DenyReason.TOKEN_REVOKED, explanation)
        return _end(session, EndCause.REVOKED)

    def tell_forgotten(self, session: Session, explanation: str) -> End:
        """Have the audit hear of a forgotten session; return what its broker is to be told."""
        self._record(session, Outcome.FORGOTTEN, "", explanation)
        return _end(session, EndCause.FORGOTTEN)

    def tell_owned(self, session: Session) -> End:
        """Have the audit hear of a session whose identifier is somebody else's; return its end."""
        reason = DenyReason.SESSION_OWNED_BY_ANOTHER
        self._record(session, Outcome.REFUSED, reason, reason.explanation)
        return _end(session, EndCause.REVOKED)

    def notify(self, change: Change) -> None:
        """Have the brokers' listeners told."""
        for listener in tuple(self._listeners):
            listener(change)

    def _record(self, session: Session, outcome: Outcome, reason: str, explanation: str) -> None:
        self._audit.record(
            AuditEvent(
                time=self._clock(),
                outcome=outcome,
                broker=session.broker,
                client_id=session.client_id,
                reason=reason,
                explanation=explanation,
                principal=session.principal,
                issuer=session.issuer,
                token_id=session.token_id,
                expires_at=session.expires_at,
            )
        )


def _end(session: Session, cause: EndCause) -> End:
    return End(broker=session.broker, client_id=session.client_id, epoch=session.epoch, cause=cause)


def ended_as_expired(session: Session) -> End:
    """Return what has a broker close a connection as if its token had run out."""
    return _end(session, EndCause.EXPIRED)

# SPDX-License-Identifier: Apache-2.0
"""Decides who is connected again, when issuers or policies have changed.

A session is judged by its token's claims, which the guard keeps, never by the token. Whose rights
have ended is dropped as if it were revoked, live or stored: what is queued for it is refused when
its client comes back. Whoever may do something else than before goes on with that. Where the
claims are not known (a session that a plugin told of), it stays until its own end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from keyfob.authorization.decision import Decision
from keyfob.guard.audit import AuditEvent, AuditLog, Outcome
from keyfob.guard.endings import Endings
from keyfob.guard.session import Replacement, Session, SessionState
from keyfob.guard.sessions import SessionStore

__all__ = ["Reconsidered", "Reconsidering"]

SLICE: Final = 100
"""Sessions between two pauses for CONNECTs: some milliseconds."""


class Reconsiders(Protocol):
    """Who judges."""

    def reconsider(self, session: Session, now: float) -> Decision | None:
        """Judge a session by its claims; None: they are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconsidered:
    """What became of the sessions.

    Attributes:
        ended: How many may not stay.
        changed: How many may do something else than before, or for another time.
        kept: How many go on as they were.
    """

    ended: int = 0
    changed: int = 0
    kept: int = 0


class Reconsidering:
    """Decides sessions again.

    Args:
        sessions: The sessions.
        endings: Ends them.
        audit: Hears of every change.
        clock: Unix seconds.
    """

    def __init__(
        self,
        sessions: SessionStore,
        endings: Endings,
        audit: AuditLog,
        clock: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._endings = endings
        self._audit = audit
        self._clock = clock

    async def all(
        self, sessions: Iterable[Session], judge: Callable[[], Reconsiders]
    ) -> Reconsidered:
        """Decide sessions again, and let CONNECTs through between them.

        Args:
            sessions: Which.
            judge: Returns who judges now. Another may after a pause, and what the former one says
                must not undo what this one has decided.
        """
        counts = dict.fromkeys(("ended", "changed", "kept"), 0)
        for number, session in enumerate(sessions):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            present = self._sessions.get(*session.key)  # it may have changed in a pause
            if present is not None:
                counts[self.one(present, judge())] += 1
        return Reconsidered(**counts)

    def one(self, session: Session, judge: Reconsiders) -> str:
        """Decide one session again; return what became of it."""
        decision = judge.reconsider(session, self._clock())
        if decision is None or session.state is SessionState.REVOKED:
            return "kept"
        if not decision.allowed:
            self._endings.refuse(session, decision)
            return "ended"
        changed = replace(session, permissions=decision.permissions, expires_at=decision.expires_at)
        if changed == session:
            return "kept"
        self._sessions.put(changed)
        if changed.state is SessionState.ONLINE:
            self._endings.notify(Replacement(session=changed))
        self._record(changed)
        return "changed"

    def _record(self, session: Session) -> None:
        self._audit.record(
            AuditEvent(
                time=self._clock(),
                outcome=Outcome.REPLACED,
                broker=session.broker,
                client_id=session.client_id,
                explanation="What it may do, or until when, has changed.",
                principal=session.principal,
                issuer=session.issuer,
                token_id=session.token_id,
                expires_at=session.expires_at,
            )
        )

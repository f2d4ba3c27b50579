# SPDX-License-Identifier: Apache-2.0
"""What becomes of live sessions whose issuer was asked about their token (RFC 7662).

Each is asked about again before its ``ask_by``, so that a revocation reaches it. Its token is only
in the memory of this process: a session that nobody can ask about any more, because its guard was
restarted or its issuer is not asked any more, ends when it would have been asked about, as if its
token had run out then. Its device connects again and shows the token anew.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from keyfob.authorization.decision import Decision, DenyReason
from keyfob.guard.admission import Admission
from keyfob.guard.endings import Endings
from keyfob.guard.introspection_answers import Active, Introspection, Refused
from keyfob.guard.issuer_bindings import IssuerBinding
from keyfob.guard.session import Replacement, Session, SessionState
from keyfob.guard.sessions import SessionStore

__all__ = ["LiveTokens"]

TICK: Final = 1.0
"""Seconds between two looks for sessions that nobody can ask about any more."""

Key = tuple[str, str]


class LiveTokens:
    """The live sessions with introspected tokens.

    Args:
        sessions: All sessions.
        endings: Ends them.
        reconsider: Decides a session again whose claims have changed.
        clock: Unix seconds.
    """

    def __init__(
        self,
        sessions: SessionStore,
        endings: Endings,
        *,
        reconsider: Callable[[Session], object],
        clock: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._endings = endings
        self._reconsider = reconsider
        self._clock = clock
        self._issuers: Mapping[str, IssuerBinding] = {}
        self._unasked: list[tuple[float, Key]] = []

    def trust(self, issuers: Mapping[str, IssuerBinding]) -> None:
        """Take the issuers that count from now on; whose part has gone cannot be asked any more."""
        before, self._issuers = self._issuers, issuers
        for iss, now in issuers.items():
            was = before.get(iss)
            if was is None or was.reasking is None or was.reasking is now.reasking:
                continue
            if now.reasking is not None:
                now.reasking.take_over(was.reasking)
            else:
                was.reasking.give_up()
        for session in self._sessions:
            self._expect_end(session)

    def begin(self, session: Session, admission: Admission) -> Session:
        """Return a new session as it is to be remembered, and have its token asked about again."""
        # Whoever had the identifier before may have been another issuer's.
        self._forget(session.key)
        binding = self._issuers.get(session.issuer)
        if admission.asked is None or binding is None or binding.reasking is None:
            return session
        asked = admission.asked
        wait = binding.reasking.watch(session.key, asked.token, asked.answer)
        watched = replace(session, ask_by=self._clock() + wait)
        self._expect_end(watched)
        return watched

    def adopt(self, session: Session) -> Session:
        """Return a session that a plugin told of, with its end if its token is not known here."""
        binding = self._issuers.get(session.issuer)
        if session.payload or session.ask_by is not None or session.expires_at <= self._clock():
            return session
        self._forget(session.key)  # what is asked about there is an earlier token
        if binding is None or binding.reasking is None:
            return session
        adopted = replace(session, ask_by=self._clock() + binding.reasking.unknown())
        self._expect_end(adopted)
        return adopted

    def forget(self, session: Session) -> None:
        """Keep a session's token no longer: it is not live any more, or has another token."""
        self._forget(session.key)

    def told(self, key: Key, answer: Introspection, ask_in: float | None) -> None:
        """Take what an issuer says of a live session's token."""
        session = self._sessions.get(*key)
        if session is None or session.state is not SessionState.ONLINE or session.ask_by is None:
            # It went without a word, or its plugin told of another token meanwhile.
            self._forget(key)
            return
        if isinstance(answer, Refused):
            reason = DenyReason(answer.code)
            self._endings.refuse(session, Decision.refuse(reason, detail=answer.message))
            return
        if ask_in is not None:
            session = replace(session, ask_by=self._clock() + ask_in)
        changed = isinstance(answer, Active) and answer.token.payload != session.payload
        if isinstance(answer, Active) and changed:
            session = replace(session, payload=answer.token.payload)
        self._sessions.put(session)
        self._expect_end(session)
        if changed:
            self._reconsider(session)

    async def run(self) -> None:
        """End what nobody can ask about, until cancelled."""
        while True:
            self.end_unasked()
            await asyncio.sleep(TICK)

    def end_unasked(self) -> None:
        """End the sessions that would have been asked about by now."""
        now = self._clock()
        while self._unasked and self._unasked[0][0] <= now:
            ask_by, key = heapq.heappop(self._unasked)
            session = self._sessions.get(*key)
            if session is None or session.ask_by != ask_by or self._is_asked_about(session):
                continue
            if session.state is SessionState.ONLINE:
                # Without its claims, by which it would be decided again and live on.
                end = min(session.expires_at, now)
                ended = replace(session, expires_at=end, ask_by=None, payload=b"")
                self._sessions.put(ended)
                self._endings.tell_unasked(ended)
                self._endings.notify(Replacement(session=ended))

    def _forget(self, key: Key) -> None:
        for binding in self._issuers.values():
            if binding.reasking is not None:
                binding.reasking.forget(key)

    def _is_asked_about(self, session: Session) -> bool:
        """Tell whether a question is planned, or waits for its answer."""
        binding = self._issuers.get(session.issuer)
        reasking = None if binding is None else binding.reasking
        return reasking is not None and reasking.watches(session.key)

    def _expect_end(self, session: Session) -> None:
        """Have a session end at its time unless it can be asked about then."""
        if session.ask_by is not None:
            heapq.heappush(self._unasked, (session.ask_by, session.key))

# SPDX-License-Identifier: Apache-2.0
"""From a CONNECT to its answer: at once where everything is at hand, else by waiting a moment.

What is not at hand (keys, an issuer's word on a token) is asked for in any case, so that it is
there for whoever comes next. How long anybody waits for it depends on who asks: a broker that
serves others meanwhile may wait, one that stands still waits only for issuers that are fast.
A connection's next token is decided about also when nobody waits any more: see ``late_renewals``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple

from keyfob.authorization.decision import ConnectRequest, Decision, DenyReason
from keyfob.guard.audit import AuditEvent, AuditLog, Outcome
from keyfob.guard.histogram import Histogram
from keyfob.guard.introspection_answers import Introspection
from keyfob.guard.judge import Answered, Judge, Question
from keyfob.guard.late_renewals import LATEST, LateRenewals
from keyfob.guard.patience import Patience
from keyfob.guard.renewal import Renewal
from keyfob.guard.reservations import Reservations
from keyfob.tokens.verify import NeedKeys

__all__ = ["Answering", "Patient"]

_UNDECIDED: Final = (DenyReason.KEYS_UNAVAILABLE, DenyReason.INTROSPECTION_UNAVAILABLE)
"""What can still be decided when an issuer has answered."""

Answer = Decision | NeedKeys | Question
"""What a judge says."""


class Patient(NamedTuple):
    """How long a broker waits for an answer.

    Attributes:
        wait: Seconds that may be spent on what is not at hand.
        stands_still: The broker serves nobody else meanwhile.
    """

    wait: float
    stands_still: bool


class _Case:
    """One CONNECT, or re-authentication, on its way to an answer."""

    __slots__ = ("began", "broker", "explain", "renewal", "request")

    def __init__(
        self,
        request: ConnectRequest,
        broker: str,
        explain: bool = False,
        renewal: Renewal | None = None,
    ) -> None:
        self.request = request
        self.broker = broker
        self.explain = explain
        self.renewal = renewal
        self.began = time.perf_counter()

    @property
    def allowed(self) -> Outcome:
        """What it is called when it is allowed."""
        return Outcome.ALLOWED if self.renewal is None else Outcome.REAUTHENTICATED


class Answering:
    """Answers CONNECTs; used in one event loop.

    Args:
        judge: Who judges; another may take its place at any time.
        audit: Hears of every decision.
        reservations: Holds the identifiers of who is let in.
        late: Waits for what is decided too late about a connection's next token.
        latency: Counts how long decisions take.
        clock: Unix seconds.
    """

    def __init__(
        self,
        judge: Judge,
        *,
        audit: AuditLog,
        reservations: Reservations,
        late: LateRenewals,
        latency: Histogram,
        clock: Callable[[], float],
    ) -> None:
        self.judge = judge
        self._audit = audit
        self._reservations = reservations
        self.late = late
        self._latency = latency
        self._clock = clock
        self._patience: dict[str, Patience] = {}

    def decide(self, request: ConnectRequest, *, broker: str, explain: bool) -> Decision:
        """Decide a CONNECT now; the arguments are those of ``Guard.decide``."""
        case = _Case(request, broker, explain)
        return self._at_once(self._judged(case), case)

    def answer(
        self,
        request: ConnectRequest,
        *,
        broker: str,
        patient: Patient,
        renewal: Renewal | None = None,
    ) -> Decision | Awaitable[Decision]:
        """Decide a CONNECT, at once where that can be; see ``Guard.answer``.

        With a renewal it is the next token of a connection that there is.
        """
        case = _Case(request, broker, renewal=renewal)
        answer = self._judged(case)
        if isinstance(answer, Decision):
            return self._decided(answer, case)
        wait, stands_still = patient
        if wait <= 0 or (stands_still and not self._may_wait(answer, wait)):
            return self._at_once(answer, case)
        return self._later(answer, case, wait, stands_still=stands_still)

    def refused(self, request: ConnectRequest, broker: str, decision: Decision) -> Decision:
        """Take note of a refusal that needed no judge, and return it."""
        return self._decided(decision, _Case(request, broker))

    async def connect(
        self, request: ConnectRequest, *, broker: str, deadline: float, explain: bool
    ) -> Decision:
        """Decide a CONNECT, and wait for what is not at hand; see ``Guard.connect``."""
        case = _Case(request, broker, explain)
        return await self._later(self._judged(case), case, deadline, stands_still=True)

    def _judged(self, case: _Case, answered: Answered | None = None) -> Answer:
        return self.judge.judge(case.request, case.broker, self._clock(), answered)

    def _at_once(self, answer: Answer, case: _Case) -> Decision:
        """Decide by what is at hand, and ask for what is not."""
        if isinstance(answer, NeedKeys):
            self.judge.keys_of(answer).ask_again(answer.kid)
            answer = self.judge.without_keys(answer)
        elif isinstance(answer, Question):
            answer = self._told(answer, answer.ask(), case)
        return self._decided(answer, case, may_come=True)

    async def _later(
        self, answer: Answer, case: _Case, wait: float, *, stands_still: bool
    ) -> Decision:
        """Decide when what is missing has come, or the time is over."""
        if isinstance(answer, NeedKeys):
            source = self.judge.keys_of(answer)
            if (flight := source.ask_again(answer.kid)) is not None:
                await self._wait(flight, self._patience_with(answer), wait)
            elif not stands_still and (flight := source.scheduled()) is not None:
                await asyncio.wait({flight}, timeout=wait)
            if flight is not None:
                # By whoever judges now: the configuration may have been read again meanwhile.
                answer = self._judged(case)
        if isinstance(answer, Question):
            asked = answer.ask()
            left = wait + case.began - time.perf_counter()
            await asyncio.wait({asked}, timeout=max(0.0, left))
            answer = self._told(answer, asked, case)
        elif isinstance(answer, NeedKeys):
            answer = self.judge.without_keys(answer)
        return self._decided(answer, case, may_come=True)

    async def _at_last(self, case: _Case, renewal: Renewal) -> Decision | None:
        """Decide about a next token when its issuer has answered; None: it has not."""
        try:
            async with asyncio.timeout(LATEST):
                decision = await self._once_known(case)
        except TimeoutError:
            return None
        if decision is None or decision.reason in _UNDECIDED or renewal.session() is None:
            return None
        decision = renewal.held(decision)
        self._note(decision, case)
        return decision

    async def _once_known(self, case: _Case) -> Decision | None:
        answer = self._judged(case)
        while not isinstance(answer, Decision):
            if isinstance(answer, Question):
                told = await answer.ask()
                answer = self._judged(case, Answered(answer.introspector, told))
                continue
            source = self.judge.keys_of(answer)
            flight = source.ask_again(answer.kid) or source.scheduled()
            if flight is None:
                return None
            await asyncio.wait({flight})
            if flight.cancelled():
                return None  # its issuer is not the one any more that is trusted
            answer = self._judged(case)
            if isinstance(answer, NeedKeys):
                decision = self.judge.without_keys(answer)
                answer = answer if decision.reason in _UNDECIDED else decision
        return answer

    def _told(
        self, question: Question, asked: asyncio.Future[Introspection], case: _Case
    ) -> Decision:
        """Decide by what an issuer says, or that it has not said anything yet."""
        if not asked.done():
            return self.judge.without_answer("no answer yet")
        decision = self._judged(case, Answered(question.introspector, asked.result()))
        if isinstance(decision, Decision):
            return decision
        return self.judge.without_answer("its issuer's keys or rules have changed meanwhile")

    async def _wait(self, flight: asyncio.Future[None], patience: Patience, wait: float) -> None:
        """Wait for an issuer's keys, and remember how fast they came."""
        began = time.perf_counter()

        def landed(_: asyncio.Future[None]) -> None:
            patience.answered_in(time.perf_counter() - began)

        flight.add_done_callback(landed)
        await asyncio.wait({flight}, timeout=wait)
        if not flight.done():
            patience.waited_in_vain()

    def _may_wait(self, need: NeedKeys | Question, wait: float) -> bool:
        if isinstance(need, Question):
            return need.introspector.may_wait(wait)
        return self._patience_with(need).may_wait(wait)

    def _patience_with(self, need: NeedKeys) -> Patience:
        return self._patience.setdefault(need.issuer.issuer, Patience())

    def _decided(self, decision: Decision, case: _Case, *, may_come: bool = False) -> Decision:
        if case.renewal is not None:
            decision = case.renewal.held(decision)
        if case.explain:
            return decision
        request = case.request
        if decision.allowed and request.client_id and case.renewal is None:
            owner = (decision.issuer, decision.subject)
            self._reservations.hold(case.broker, request.client_id, owner, self._clock())
        self._note(decision, case)
        self._latency.observe(time.perf_counter() - case.began)
        if may_come and case.renewal is not None and decision.reason in _UNDECIDED:
            self.late.expect(case.renewal, partial(self._at_last, case, case.renewal))
        return decision

    def _note(self, decision: Decision, case: _Case) -> None:
        request = case.request
        self._audit.record(
            AuditEvent(
                time=self._clock(),
                outcome=case.allowed if decision.allowed else Outcome.REFUSED,
                broker=case.broker,
                client_id=request.client_id,
                reason=decision.reason or "",
                explanation=decision.detail,
                principal=decision.principal,
                issuer=decision.issuer,
                token_id=decision.token_id,
                peer=request.peer,
                expires_at=decision.expires_at,
            )
        )

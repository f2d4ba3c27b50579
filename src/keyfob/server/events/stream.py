# SPDX-License-Identifier: Apache-2.0
"""The deliveries to one receiver: at least once, in order per device, by one process at a time.

Theory of operation. The register says what is pending. The stream takes turns at it (``Turn``),
and between two turns up to ``WIDTH`` pushes are under way, never two of one device: the next event
of a device is not looked at before the one ahead of it was acknowledged, refused for good, or has
stopped to matter.

A push that fails is tried again later and later, and the device's other events wait behind it.
A receiver that fails is left alone for a while, longer and longer, and then asked with one event,
each time with another: so an event that a receiver cannot digest keeps none of another device
back, and a receiver that comes back finds one request, not all of them.

An acknowledgement that was not written down before a crash is asked for again: the event comes a
second time under the same ``jti``, which is how a receiver knows it (RFC 8417 section 2.2).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from keyfob.errors import KeyfobError
from keyfob.server.events.answer import Answer, Verdict, delay
from keyfob.server.events.receiver import PendingEvent, Receiver
from keyfob.server.events.told import DeliveryAudit, DeliveryNote, What
from keyfob.server.stores.event_receivers import PURGED_AT_ONCE, Settled, Turn, TurnTaken

__all__ = ["LEASE", "WIDTH", "DeliveryStore", "Stream", "full_jitter"]

WIDTH: Final = 8
"""Pushes under way at once, each about another device."""

LEASE: Final = 5.0
"""Seconds after which another process delivers in the place of one that was killed."""

# A receiver is down when so many rounds failed with no success between: one event alone that it
# cannot digest is none of that.
_DOWN: Final = 3
# From so many attempts on somebody is told of an event that waits.
_HELD: Final = 8
_PURGE_SECONDS: Final = 60.0
_STORE_SECONDS: Final = 1.0
_SYSTEM: Final = random.SystemRandom()


def full_jitter(ceiling: float) -> float:
    """Pick any time below a ceiling: what failed together does not come back together."""
    return _SYSTEM.uniform(0.0, ceiling)


class DeliveryStore(Protocol):
    """What a stream needs of the register. Every method may raise UpstreamError."""

    async def has_new(self, name: str) -> bool:
        """Say whether something was revoked that is not taken up yet."""

    async def next_due(self, name: str, *, now: float) -> float | None:
        """Return when the first event of any device may be tried again; None: there is none."""

    async def heads(self, name: str, *, now: float, limit: int) -> tuple[PendingEvent, ...]:
        """Return the first event of each device that may be tried now, oldest first."""

    async def turn(self, turn: Turn) -> TurnTaken:
        """Take one turn, committed when this returns."""

    async def release(self, name: str, owner: str) -> None:
        """Let another process deliver at once."""


class Stream:
    """The deliveries to one receiver.

    Args:
        receiver: To whom.
        store: The register.
        owner: This process, in a text that no other has.
        push: Signs and sends one event; it does not raise.
        clock: Unix seconds.
        token_id: Tells an event's ``jti``, for people.
        audit: Is told what is out of the usual.
        jitter: Picks a wait below a ceiling, in seconds.
        lease: For so many seconds nobody else delivers.
    """

    def __init__(
        self,
        receiver: Receiver,
        *,
        store: DeliveryStore,
        owner: str,
        push: Callable[[PendingEvent], Awaitable[Answer]],
        clock: Callable[[], float],
        token_id: Callable[[PendingEvent], str],
        audit: DeliveryAudit,
        jitter: Callable[[float], float] = full_jitter,
        lease: float = LEASE,
    ) -> None:
        self._receiver = receiver
        self._store = store
        self._owner = owner
        self._push = push
        self._clock = clock
        self._token_id = token_id
        self._audit = audit
        self._jitter = jitter
        self._lease = lease
        self._woken = asyncio.Event()
        self._failures = 0
        # What waits from before the start is tried at once: who starts a server wants to see it.
        self._afresh = True
        # Seconds of the event loop's clock.
        self._rest_until: float | None = 0.0
        self._quiet_until = 0.0
        self._purge_at = 0.0
        # Another's lease, by its end, and since when it is seen: clocks may differ, or be set.
        self._other = (-1.0, 0.0)

    def wake(self) -> None:
        """Look whether something was revoked."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            while True:
                await self._rest()
                try:
                    await self._work()
                except (KeyfobError, sqlite3.Error):
                    self._rest_until = self._now() + _STORE_SECONDS
                    self._quiet_until = self._rest_until
        finally:
            with contextlib.suppress(KeyfobError, sqlite3.Error):
                await self._store.release(self._receiver.name, self._owner)

    async def _rest(self) -> None:
        """Wait until there is something to do and it may be done."""
        while True:
            self._woken.clear()
            now = self._now()
            until = self._quiet_until
            if now >= until:
                if self._rest_until is not None and now >= self._rest_until:
                    return
                with contextlib.suppress(KeyfobError, sqlite3.Error):
                    if await self._store.has_new(self._receiver.name):
                        return
                # Rows that another process left behind, and those that have stopped to matter.
                until = now + _PURGE_SECONDS
                if self._rest_until is not None:
                    until = min(until, self._rest_until)
                elif now >= self._purge_at:
                    self._rest_until = now
                    continue
            # Not ``wait_for``: before Python 3.12 it may swallow a cancellation that meets a wake.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._woken.wait()

    async def _work(self) -> None:
        """Deliver what may be delivered now."""
        running: dict[asyncio.Task[tuple[PendingEvent, Answer]], str] = {}
        settled: Sequence[Settled] = ()
        try:
            while True:
                taken = await self._turn(settled)
                settled = ()
                if taken.ours:
                    await self._start(running)
                if not running:
                    await self._plan(ours=taken.ours)
                    return
                done = await self._ended(running)
                for task in done:
                    del running[task]
                if done:
                    settled = self._settled([task.result() for task in done])
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _ended(
        self, running: dict[asyncio.Task[tuple[PendingEvent, Answer]], str]
    ) -> list[asyncio.Task[tuple[PendingEvent, Answer]]]:
        """Wait for the end of a push, for a new event, or until the lease is to be renewed."""
        until = self._now() + self._lease / 3
        while True:
            waking = asyncio.create_task(self._woken.wait())
            try:
                await asyncio.wait(
                    {*running, waking},
                    timeout=max(0.0, until - self._now()),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                waking.cancel()
            done = [task for task in running if task.done()]
            if done or not self._woken.is_set():
                return done
            # Our own turns wake us, too.
            self._woken.clear()
            if await self._store.has_new(self._receiver.name):
                return done

    async def _turn(self, settled: Sequence[Settled]) -> TurnTaken:
        purge = self._now() >= self._purge_at
        if purge:
            self._purge_at = self._now() + _PURGE_SECONDS
        taken = await self._store.turn(
            Turn(
                receiver=self._receiver,
                owner=self._owner,
                now=self._clock(),
                lease=self._lease,
                settled=settled,
                afresh=self._afresh,
                purge=purge,
                dead=self._other[0] if self._now() - self._other[1] > self._lease else -1.0,
            )
        )
        if taken.ours or taken.held_until != self._other[0]:
            self._other = (-1.0 if taken.ours else taken.held_until, self._now())
        if taken.expired >= PURGED_AT_ONCE:
            self._purge_at = 0.0
        self._afresh = self._afresh and not taken.ours
        if taken.expired:
            self._tell("expired", "tokens_ended", count=taken.expired)
        return taken

    async def _start(self, running: dict[asyncio.Task[tuple[PendingEvent, Answer]], str]) -> None:
        """Begin as many pushes as may be under way."""
        if self._now() < self._quiet_until:
            return
        free = (1 if self._failures else WIDTH) - len(running)
        if free <= 0:
            return
        heads = await self._store.heads(
            self._receiver.name, now=self._clock(), limit=free + len(running)
        )
        busy = set(running.values())
        for event in [each for each in heads if each.subject not in busy][:free]:
            running[asyncio.create_task(self._pushed(event))] = event.subject

    async def _pushed(self, event: PendingEvent) -> tuple[PendingEvent, Answer]:
        return event, await self._push(event)

    async def _plan(self, *, ours: bool) -> None:
        """Say when to look again, where nothing is under way."""
        now = self._now()
        if not ours:
            self._rest_until = self._quiet_until = now + self._lease / 5
        elif now < self._quiet_until:
            self._rest_until = self._quiet_until
        else:
            due = await self._store.next_due(self._receiver.name, now=self._clock())
            self._rest_until = None if due is None else now + max(0.01, due - self._clock())

    def _settled(self, results: Sequence[tuple[PendingEvent, Answer]]) -> list[Settled]:
        """Say what to write down of some pushes, and learn from them how the receiver is."""
        failed = [answer for _, answer in results if answer.verdict is Verdict.FAILED]
        if len(failed) < len(results):
            if self._failures >= _DOWN:
                self._afresh = True
                self._tell("recovered")
            self._failures = 0
        elif failed:
            self._failures += 1
            if self._failures == _DOWN:
                self._tell("failing", failed[-1].reason)
        if failed:
            wait = delay(self._failures, self._jitter) if self._failures else 0.0
            wait = max([wait, *(answer.retry_after for answer in failed)])
            self._quiet_until = max(self._quiet_until, self._now() + wait)
        return [self._settled_one(event, answer) for event, answer in results]

    def _settled_one(self, event: PendingEvent, answer: Answer) -> Settled:
        not_before = 0.0
        if answer.verdict is Verdict.FAILED:
            wait = max(delay(event.attempts + 1, self._jitter), answer.retry_after)
            not_before = self._clock() + wait
            if event.attempts + 1 == _HELD and not self._failures >= _DOWN:
                self._tell_of("held", event, answer.reason)
        elif answer.verdict is Verdict.REJECTED:
            self._tell_of("rejected", event, answer.reason)
        return Settled(
            number=event.number,
            verdict=answer.verdict,
            reason=answer.reason,
            not_before=not_before,
        )

    def _tell_of(self, what: What, event: PendingEvent, reason: str) -> None:
        self._tell(what, reason, subject=event.subject, token_id=self._token_id(event))

    def _tell(
        self, what: What, reason: str = "", *, subject: str = "", token_id: str = "", count: int = 1
    ) -> None:
        self._audit(
            DeliveryNote(
                at=self._clock(),
                what=what,
                receiver=self._receiver.name,
                reason=reason,
                subject=subject,
                token_id=token_id,
                count=count,
            )
        )

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

# SPDX-License-Identifier: Apache-2.0
"""Asks again about the tokens of live sessions, so that a revocation reaches them (RFC 7662).

An introspection server tells nobody when a token is revoked: who wants to know has to ask, and
RFC 7662 asks by token. So the tokens of live sessions that were introspected are here, in memory
and nowhere else. A guard that restarts has them no more; a session that cannot be asked about
ends at its next time to be asked, which is why ``watch`` says when that is.

``Schedule`` is the plan, without clock or network. ``Reasking`` carries it out.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from keyfob.guard.backoff import Jitter
from keyfob.guard.introspection_answers import Active, Introspection, Refused
from keyfob.tokens.verify import VerifiedToken

__all__ = ["MAX_WATCHED", "Asks", "Reasking", "Schedule", "Told"]

MAX_WATCHED: Final = 100_000
"""Sessions whose tokens are kept: about 100 MB with usual JWTs, a tenth of that with opaque ones.
A session more is not watched, and ends when it would have been asked about."""

SPREAD: Final = 0.2
"""The part of the interval over which the next times are spread; always before its end, so that
the interval is the longest that a revoked token lives on."""

AT_ONCE: Final = 8
"""Sessions asked about at a time: half the connections, so that CONNECTs have the others."""

TICK: Final = 0.5
"""Seconds between two looks at what is due."""

_log = logging.getLogger("keyfob.guard.introspection")
_SYSTEM: Final = random.SystemRandom()
K = TypeVar("K")
_K_contra = TypeVar("_K_contra", contravariant=True)


def _any_below(ceiling: float) -> float:
    return _SYSTEM.uniform(0.0, ceiling)


@dataclass(slots=True, eq=False)
class Watched(Generic[K]):
    """A session's token, and until when it is of any use."""

    key: K
    token: bytes = field(repr=False)
    presented: VerifiedToken | None = field(repr=False)
    until: float


class Schedule(Generic[K]):
    """Which session is asked about when; all times are seconds of a clock that never steps.

    Args:
        interval: Seconds within which each is asked about again.
        size: How many there may be.
        jitter: What spreads them.
    """

    def __init__(
        self, interval: float, *, size: int = MAX_WATCHED, jitter: Jitter = _any_below
    ) -> None:
        self.interval = interval
        self._size = size
        self._jitter = jitter
        self._watched: dict[K, Watched[K]] = {}
        # Entries whose session was forgotten or planned anew stay until they come up or are
        # swept; `_times` says which entry counts.
        self._queue: list[tuple[float, int, Watched[K]]] = []
        self._times: dict[Watched[K], int] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, watched: Watched[K], now: float, by: float = math.inf) -> float:
        """Plan the first question about a session, or about its new token.

        Args:
            watched: The session.
            now: The time.
            by: When it has to be put at the latest.

        Returns:
            Seconds until it is put, or would be: where there is no room for it.
        """
        self.forget(watched.key)
        delay = min(self.first_delay(), max(0.0, by - now))
        if len(self._watched) < self._size:
            self._watched[watched.key] = watched
            self._plan(watched, now + delay)
        return delay

    def first_delay(self) -> float:
        """Return seconds until a first question.

        Spread over the whole interval: a fleet that came back at once is not asked about at once.
        """
        return self.interval - self._jitter(self.interval)

    def again(self, watched: Watched[K], now: float) -> float:
        """Plan the next question about a session that is still watched.

        Returns:
            Seconds until it is put.
        """
        delay = self.interval - self._jitter(self.interval * SPREAD)
        self._plan(watched, now + delay)
        return delay

    def forget(self, key: K) -> None:
        """Drop a session and its token."""
        watched = self._watched.pop(key, None)
        if watched is not None:
            self._times.pop(watched, None)
            self._sweep()

    def clear(self) -> dict[Watched[K], float]:
        """Drop every session; return when each was to be asked about."""
        planned = {entry[2]: entry[0] for entry in self._queue if self._counts(entry)}
        self._watched, self._queue, self._times = {}, [], {}
        return planned

    def watches(self, key: K) -> bool:
        """Tell whether there is a session under this key."""
        return key in self._watched

    def current(self, watched: Watched[K]) -> bool:
        """Tell whether this is still the session's token."""
        return self._watched.get(watched.key) is watched

    def due(self, now: float, limit: int) -> list[Watched[K]]:
        """Take out what is to be asked about now, the longest overdue first.

        Args:
            now: The time.
            limit: How many at most.
        """
        found: list[Watched[K]] = []
        while self._queue and len(found) < limit and self._queue[0][0] <= now:
            entry = heapq.heappop(self._queue)
            if not self._counts(entry):
                continue
            watched = entry[2]
            del self._times[watched]
            if watched.until <= now:
                # The session ends by itself; nobody needs to be asked about its token.
                self.forget(watched.key)
            else:
                found.append(watched)
        return found

    def _plan(self, watched: Watched[K], at: float) -> None:
        self._count += 1
        self._times[watched] = self._count
        heapq.heappush(self._queue, (at, self._count, watched))

    def _counts(self, entry: tuple[float, int, Watched[K]]) -> bool:
        return self._times.get(entry[2]) == entry[1]

    def _sweep(self) -> None:
        # A forgotten token must not stay in memory for long, nor the queue grow without end.
        if len(self._queue) > 2 * len(self._times) + 64:
            self._queue = list(filter(self._counts, self._queue))
            heapq.heapify(self._queue)


class Asks(Protocol):
    """What asks an issuer: an ``Introspector``."""

    def ask(
        self, token: bytes, *, presented: VerifiedToken | None = None, known: bool = False
    ) -> asyncio.Future[Introspection]:
        """Ask about a token."""


class Told(Protocol[_K_contra]):
    """Takes what the issuer says about a live session."""

    def __call__(self, key: _K_contra, answer: Introspection, ask_in: float | None) -> None:
        """Take an answer.

        Args:
            key: The session.
            answer: Active: its rights may have changed. Refused: it ends, and is not watched any
                more. Unavailable: it goes on until its own expiry.
            ask_in: Seconds until the next question; None: there is none.
        """


class Reasking(Generic[K]):
    """Asks one issuer again about the live sessions with its tokens.

    Args:
        asks: What asks it.
        interval: Seconds within which each session is asked about again.
        size: How many sessions there may be.
        clock: Unix seconds.
        monotonic: A clock that never steps.
        jitter: What spreads them.
        tick: Seconds between two looks at what is due.
    """

    def __init__(
        self,
        asks: Asks,
        interval: float,
        *,
        size: int = MAX_WATCHED,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Jitter = _any_below,
        tick: float = TICK,
    ) -> None:
        self._asks = asks
        self._clock = clock
        self._monotonic = monotonic
        self._tick = tick
        self._schedule: Schedule[K] = Schedule(interval, size=size, jitter=jitter)
        self._out: dict[asyncio.Task[None], Watched[K]] = {}

    def __len__(self) -> int:
        return len(self._schedule)

    def watch(self, key: K, token: bytes, active: Active) -> float:
        """Have a session asked about from now on, in the place of what was watched under its key.

        Args:
            key: The session.
            token: As it was presented; kept in memory until ``forget``, or until it has expired.
            active: What the issuer answered about it.

        Returns:
            Seconds until the next question: if the session cannot be asked about then, because
            this guard was restarted or watches too many already, it has to end.
        """
        now = self._monotonic()
        watched = Watched(key, token, active.presented, self._end(active, now))
        return self._schedule.watch(watched, now)

    def unknown(self) -> float:
        """Return seconds after which a session has to end whose token is not known here."""
        return self._schedule.first_delay()

    def watches(self, key: K) -> bool:
        """Tell whether a session is asked about again."""
        return self._schedule.watches(key)

    def forget(self, key: K) -> None:
        """Drop a session that ended or went offline, and its token."""
        self._schedule.forget(key)

    def take_over(self, other: Reasking[K]) -> None:
        """Go on in the place of what asked until now, with all that it watches.

        Each is asked about when it was to be, or earlier: reloads, however many, put nothing off.
        """
        now = self._monotonic()
        for watched, at in other.give_up().items():
            self._schedule.watch(watched, now, by=at)

    def give_up(self) -> dict[Watched[K], float]:
        """Watch nothing any more; return when what was watched was to be asked about."""
        # An answer that is on its way will be nobody's.
        now = self._monotonic()
        asked = {w: now for w in self._out.values() if self._schedule.current(w)}
        return self._schedule.clear() | asked

    async def run(self, told: Told[K]) -> None:
        """Ask until cancelled.

        Args:
            told: Takes the answers.
        """
        try:
            while True:
                now = self._monotonic()
                for watched in self._schedule.due(now, AT_ONCE - len(self._out)):
                    # Planned before it is asked, so that whatever happens it is asked again.
                    next_at = now + self._schedule.again(watched, now)
                    task = asyncio.create_task(self._ask(watched, next_at, told))
                    self._out[task] = watched
                    task.add_done_callback(self._back)
                if len(self._out) < AT_ONCE:
                    await asyncio.sleep(self._tick)
                else:
                    await asyncio.wait(self._out, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in self._out:
                task.cancel()

    async def _ask(self, watched: Watched[K], next_at: float, told: Told[K]) -> None:
        answer = await self._asks.ask(watched.token, presented=watched.presented, known=True)
        if not self._schedule.current(watched):
            # It ended, or has a new token: this is nobody's answer any more.
            return
        if isinstance(answer, Refused):
            told(watched.key, answer, None)
            # Only now: had it not been taken, it would have to be told again.
            self._schedule.forget(watched.key)
            return
        now = self._monotonic()
        if isinstance(answer, Active):
            watched.until = self._end(answer, now)
        told(watched.key, answer, max(0.0, next_at - now))

    def _end(self, active: Active, now: float) -> float:
        return now + active.token.expires_at - self._clock()

    def _back(self, task: asyncio.Task[None]) -> None:
        del self._out[task]
        if not task.cancelled() and (error := task.exception()):
            _log.error("the answer about a session was not taken", exc_info=error)

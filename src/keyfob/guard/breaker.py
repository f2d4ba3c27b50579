# SPDX-License-Identifier: Apache-2.0
"""A circuit breaker: an upstream that fails is left alone, and asked again by one at a time.

Closed, everybody asks. After so many failures in a row it opens: nobody asks, for a time that
grows and differs from guard to guard. Then it is half open: one may ask. A success, whenever it
comes, closes it; a failure of that one opens it again, for longer. An answer that says nothing
about the upstream leaves all as it was.

A failure counts only for the state in which its question was asked, which its ``Permit`` says.
Otherwise the many that time out together after the first few would each make the pause longer.
"""

from __future__ import annotations

import random
from enum import StrEnum, auto
from typing import Final, NewType

from keyfob.guard.backoff import Backoff

__all__ = ["Breaker", "BreakerState", "Permit"]

MAX_FAILURES: Final = 5
"""Failures in a row that open it: a single lost connection does not, a dead server does soon."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
"""Seconds: the longest that devices are refused after the upstream has recovered."""

Permit = NewType("Permit", int)
"""To ask once; says in which state it was given."""

_SYSTEM: Final = random.SystemRandom()


class BreakerState(StrEnum):
    """Who may ask."""

    CLOSED = auto()
    OPEN = auto()
    HALF_OPEN = auto()


def _upper_half(ceiling: float) -> float:
    # At least half: a question that fails costs some client its answer.
    return _SYSTEM.uniform(ceiling / 2, ceiling)


class Breaker:
    """The breaker of one upstream; all times are seconds of a clock that never steps.

    Args:
        patience: Seconds after which the answer to a question is no longer awaited. So long the
            one that asks in the half-open state keeps the others out, should it never come back.
        failures: How many in a row open it.
        backoff: The pauses.
    """

    __slots__ = ("_backoff", "_failures", "_limit", "_patience", "_permit", "_probing", "_until")

    def __init__(
        self, *, patience: float, failures: int = MAX_FAILURES, backoff: Backoff | None = None
    ) -> None:
        self._patience = patience
        self._limit = failures
        self._backoff = backoff or Backoff(base=FIRST_PAUSE, cap=LONGEST_PAUSE, jitter=_upper_half)
        self._failures = 0
        self._permit = Permit(0)
        self._probing = False
        self._until = 0.0

    def state(self, now: float) -> BreakerState:
        """Tell the state."""
        if self._failures < self._limit:
            return BreakerState.CLOSED
        if self._probing or now >= self._until:
            return BreakerState.HALF_OPEN
        return BreakerState.OPEN

    def allows(self, now: float) -> bool:
        """Tell whether ``enter`` would give a permit."""
        return self._failures < self._limit or now >= self._until

    def enter(self, now: float) -> Permit | None:
        """Ask to ask; whoever gets a permit says how it went."""
        if not self.allows(now):
            return None
        if self._failures >= self._limit:
            self._probing = True
            self._until = now + self._patience
            self._permit = Permit(self._permit + 1)
        return self._permit

    def succeeded(self) -> None:
        """Take note that the upstream answered."""
        if self._failures >= self._limit:
            self._permit = Permit(self._permit + 1)
        self._failures = 0
        self._probing = False
        self._backoff.reset()

    def undecided(self, permit: Permit, now: float) -> None:
        """Take note of an answer that says nothing about others: where one tries, the next may."""
        if self._probing and permit == self._permit:
            self._probing = False
            self._until = now

    def failed(self, permit: Permit, now: float) -> None:
        """Take note that it did not, or with nothing of use."""
        if permit != self._permit:
            return
        self._failures += 1
        if self._failures >= self._limit:
            self._probing = False
            self._until = now + self._backoff.next()
            self._permit = Permit(self._permit + 1)

# SPDX-License-Identifier: Apache-2.0
"""An allowance: so many at once, and from then on so many a second (a token bucket)."""

from __future__ import annotations

import math

__all__ = ["Allowance"]


class Allowance:
    """What may be spent; all times are seconds of a clock that never steps.

    Args:
        rate: How much comes in a second.
        most: How much there is at the start, and never more.
    """

    __slots__ = ("_at", "_left", "_most", "_rate")

    def __init__(self, *, rate: float, most: float) -> None:
        self._rate = rate
        self._most = most
        self._left = most
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Spend one; tell whether there was one."""
        self._fill(now)
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def give_back(self) -> None:
        """Undo a ``take``, whose reason has gone."""
        self._left = min(self._most, self._left + 1.0)

    def wait(self, now: float) -> float:
        """Return the seconds until there is one to spend; 0 where there is."""
        self._fill(now)
        if self._left >= 1.0:
            return 0.0
        return (1.0 - self._left) / self._rate if self._rate > 0 else math.inf

    def _fill(self, now: float) -> None:
        if self._at is not None:
            self._left = min(self._most, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now

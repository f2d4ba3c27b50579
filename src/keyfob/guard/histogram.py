# SPDX-License-Identifier: Apache-2.0
"""How long things take, counted in buckets: an observation costs a bisection and an addition."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

__all__ = ["DECISION_BUCKETS", "Histogram"]

DECISION_BUCKETS: Final = (
    *(0.000_05, 0.000_1, 0.000_25, 0.000_5),
    *(0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
"""Seconds: from a token that is known (50 us) to one that had to wait for its issuer."""


class Histogram:
    """Counts of observations up to each of some bounds; for one thread.

    Args:
        bounds: The buckets' upper bounds, rising.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float] = DECISION_BUCKETS) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def add(self, counts: Sequence[int], total: float) -> None:
        """Add what another of the same bounds has counted.

        Args:
            counts: Its ``counts``.
            total: Its ``sum``.
        """
        self._counts = [mine + its for mine, its in zip(self._counts, counts, strict=True)]
        self._sum += total

    @property
    def counts(self) -> tuple[int, ...]:
        """How many fell into each bucket; the last holds what is beyond all bounds."""
        return tuple(self._counts)

    @property
    def bounds(self) -> tuple[float, ...]:
        """The buckets' upper bounds, the last, infinite one left out."""
        return self._bounds

    @property
    def cumulative(self) -> tuple[int, ...]:
        """How many were at most each bound, and how many there were in all."""
        return tuple(accumulate(self._counts))

    @property
    def sum(self) -> float:
        """All of them together."""
        return self._sum

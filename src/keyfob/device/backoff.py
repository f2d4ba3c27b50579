# SPDX-License-Identifier: Apache-2.0
"""How long to wait before the next CONNECT.

Theory of operation. A broker that comes back meets all its clients at once. Full jitter, a wait
drawn from zero to a ceiling that doubles, spreads them best. A CONNACK alone proves little: a
broker that accepts and falls over again would be stormed. So the ceiling falls back only after a
connection that lasted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["LASTED", "Backoff"]

LASTED: Final = 10.0
"""Seconds for which a connection has to stand before the ceiling falls back."""


class Backoff:
    """The waits of one client.

    Args:
        chance: Draws a number from 0 to 1.
        clock: Tells seconds, on a clock that nobody sets.
    """

    def __init__(self, chance: Callable[[], float], clock: Callable[[], float]) -> None:
        self._chance = chance
        self._clock = clock
        self._count = 0
        self._since: float | None = None

    def connected(self) -> None:
        """The broker has accepted; a planned reconnect in between changes nothing."""
        if self._since is None:
            self._since = self._clock()

    def next(self, first: float, most: float) -> float:
        """There is no connection: return the seconds to wait.

        Args:
            first: The first ceiling.
            most: The highest.
        """
        self._reset()
        ceiling = min(most, first * 2.0 ** min(self._count, 32))
        self._count += 1
        return ceiling * self._chance()

    def soon(self, first: float) -> float:
        """The connection ended as was to be expected: a wait that does not count."""
        self._reset()
        return first * self._chance()

    def _reset(self) -> None:
        if self._since is not None and self._clock() - self._since >= LASTED:
            self._count = 0
        self._since = None

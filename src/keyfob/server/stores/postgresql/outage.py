# SPDX-License-Identifier: Apache-2.0
"""How long to wait for a server that does not answer: all connections of a process together.

A server that is restarted is back within seconds, and whoever waits for it notices nothing. One
that is gone for long must not hold every request for as long: when the patience is used up, one
try at a time is made and all others are refused at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["PATIENCE", "PAUSE", "Outage"]

PATIENCE: Final = 3.0
"""Seconds from the first failure on, in which it is worth waiting."""

PAUSE: Final = 0.5
"""Seconds between tries, once it is not."""


class Outage:
    """What is known of one; for any number of threads.

    Args:
        clock: Seconds that never step back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._tried = 0.0
        self._why = ""

    @property
    def why(self) -> str:
        """What the last try that failed ended with."""
        return self._why

    def may_try(self) -> bool:
        """Say whether to try to connect now; a long outage has one try in each pause."""
        with self._lock:
            now = self._clock()
            if self._since is None or now - self._since < PATIENCE:
                return True
            if now - self._tried < PAUSE:
                return False
            self._tried = now
            return True

    def failed(self, why: str) -> bool:
        """Note a try that failed, and why; say whether it is worth waiting for the next."""
        with self._lock:
            now, self._why = self._clock(), why
            self._tried = now
            if self._since is None:
                self._since = now
            return now - self._since < PATIENCE

    def over(self) -> None:
        """Note that the server answers."""
        with self._lock:
            self._since = None

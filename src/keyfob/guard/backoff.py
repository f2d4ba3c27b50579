# SPDX-License-Identifier: Apache-2.0
"""How long to wait before asking a failing upstream again: exponential, with full jitter.

Full jitter (any time between zero and the current ceiling) spreads many guards that lost one
server over the whole interval, so that its return is not met by all of them at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

__all__ = ["Backoff", "Jitter"]

Jitter = Callable[[float], float]
"""Picks a number between zero and its argument."""

_SYSTEM: Final = random.SystemRandom()


def _full_jitter(ceiling: float) -> float:
    return _SYSTEM.uniform(0.0, ceiling)


class Backoff:
    """The delays of one upstream.

    Args:
        base: The ceiling, in seconds, of the first delay.
        cap: The highest ceiling.
        jitter: What picks a delay below a ceiling.
    """

    __slots__ = ("_base", "_cap", "_failures", "_jitter")

    def __init__(self, *, base: float, cap: float, jitter: Jitter = _full_jitter) -> None:
        self._base = base
        self._cap = cap
        self._jitter = jitter
        self._failures = 0

    def reset(self) -> None:
        """Begin anew: the upstream answered."""
        self._failures = 0

    def next(self) -> float:
        """Return the seconds to wait after one more failure."""
        # 2**32 passes every cap; without the bound the power would grow for ever.
        ceiling = min(self._cap, self._base * 2.0 ** min(self._failures, 32))
        self._failures += 1
        return self._jitter(ceiling)

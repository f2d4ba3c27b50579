# SPDX-License-Identifier: Apache-2.0
"""What was seen of time and memory: when the broker stood still, and what each part weighs.

A broker that is stopped (SIGSTOP) ends no connection, and a test that got no processor sees nothing
end. Both are written down, so that lateness is counted without them.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["PATIENCE", "Watch", "Weight"]

PATIENCE = 2.0
"""Seconds after its token's end by which a connection must be over."""

_ROUND = 0.05
_STALL = 0.15
_STARTING = 4
"""Weighings, a second apart, of a part that is still loading."""


@dataclass(slots=True)
class Weight:
    """The resident memory of one part over its lives, in MiB."""

    lives: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def most(self) -> float:
        """The most that it ever weighed."""
        return max((max(life) for life in self.lives.values()), default=0.0)

    @property
    def growth(self) -> float:
        """The most that it grew in one life, once it had settled; infinite if it never did."""
        settled = [life[_STARTING:] for life in self.lives.values() if len(life) > _STARTING + 1]
        return max((max(life) - life[0] for life in settled), default=math.inf)


class Watch:
    """What was seen of one installation.

    Args:
        pids: Where the parts' process ids are, by part.
    """

    def __init__(self, pids: dict[str, Path]) -> None:
        self._pids = pids
        self.weights = {name: Weight() for name in pids}
        self._standstills: list[tuple[float, float]] = []
        self.lateness = 0.0
        self.late: list[str] = []
        self.ends = 0

    async def look(self) -> None:
        """Look until cancelled."""
        number = 0
        while True:
            before = time.time()
            await asyncio.sleep(_ROUND)
            if time.time() - before > _ROUND + _STALL:
                self.stood_still(before, time.time())
            number += 1
            if number % 20 == 0:
                self._weigh()

    def stood_still(self, since: float, until: float) -> None:
        """Write down that connections could not end, or not be seen to."""
        self._standstills.append((since, until))

    def due(self, expires_at: float) -> float:
        """Return when a connection whose token ends then could have been over."""
        due = expires_at
        for since, until in sorted(self._standstills):
            if since < due + PATIENCE and until > due:
                due = until
        return due

    def connection_ended(self, device: str, expires_at: float) -> None:
        """Write down the end of a connection, and whether it was late."""
        lateness = time.time() - self.due(expires_at)
        self.ends += time.time() >= expires_at
        self.lateness = max(self.lateness, lateness)
        if lateness > PATIENCE:
            self.late.append(f"{device}, by {lateness:.1f} s")

    def _weigh(self) -> None:
        for name, path in self._pids.items():
            with contextlib.suppress(OSError, ValueError, StopIteration):
                pid = int(path.read_text(encoding="ascii"))
                lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
                line = next(line for line in lines if line.startswith("VmRSS:"))
                self.weights[name].lives[pid].append(int(line.split()[1]) / 1024)

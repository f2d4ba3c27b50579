# SPDX-License-Identifier: Apache-2.0
"""What is done to the parts of an installation: killed, stopped, frozen, one and two at a time.

The order is drawn from a seed; every disruption of a round comes once before one comes again.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.soak.ledger import Death, Ledger
from tests.soak.plan import Plan
from tests.soak.watch import Watch

__all__ = ["GENTLE", "HARD", "Disruptor"]

_KILL, _TERM, _STOP = signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP
_Step = tuple[str, signal.Signals]

GENTLE: tuple[tuple[_Step, ...], ...] = (
    (("guard", _KILL),),
    (("guard", _TERM),),
    (("guard", _STOP),),
    (("server", _KILL),),
    (("server", _TERM),),
    (("mosquitto", _TERM),),
    (("mosquitto", _STOP),),
    (("guard", _KILL), ("mosquitto", _TERM)),
    (("mosquitto", _TERM), ("guard", _KILL)),
    (("server", _KILL), ("guard", _KILL), ("mosquitto", _TERM)),
)
"""What may cost nothing: the broker is told to end, and saves its state."""

HARD: tuple[tuple[_Step, ...], ...] = (
    (("mosquitto", _KILL),),
    (("guard", _KILL), ("mosquitto", _KILL)),
    (("mosquitto", _KILL), ("guard", _KILL)),
    (("mosquitto", _KILL), ("server", _KILL)),
    (("guard", _STOP),),
)
"""What costs what the broker had acknowledged and not saved."""

RESTART = 60.0


class Disruptor:
    """Disrupts one installation.

    Args:
        pids: Where the parts' process ids are, by part.
        database: Where the broker saves its state.
        ledger: Told of the broker's deaths, and of all that is done.
        watch: Told when the broker stands still.
        plan: The seed, and the pauses between two disruptions.
    """

    def __init__(
        self,
        pids: dict[str, Path],
        database: Path,
        ledger: Ledger,
        watch: Watch,
        plan: Plan,
    ) -> None:
        self._pids = pids
        self._database = database
        self._ledger = ledger
        self._watch = watch
        self._chance = random.Random(f"{plan.seed}/disruptions")
        self._pause = plan.pause
        self.done: Counter[str] = Counter()

    async def run(self, disruptions: Sequence[tuple[_Step, ...]], until: float) -> None:
        """Disrupt until a time is reached."""
        waiting: list[tuple[_Step, ...]] = []
        while time.time() < until:
            waiting = waiting or self._chance.sample(disruptions, len(disruptions))
            steps = waiting.pop()
            told = ", ".join(f"{name} {number.name}" for name, number in steps)
            self.done[told] += 1
            self._ledger.happened("", time.time(), told)
            async with self._restarted({name for name, number in steps if number != _STOP}):
                for name, number in steps:
                    await self._disrupt(name, number)
                    await asyncio.sleep(self._chance.uniform(0, 0.3))
            self._ledger.happened("", time.time(), "over")
            await asyncio.sleep(self._chance.uniform(*self._pause))

    async def all_running(self) -> None:
        """Return when every part runs."""
        for name in self._pids:
            await self._pid(name)

    async def _disrupt(self, name: str, number: signal.Signals) -> None:
        pid = await self._pid(name)
        if number == _STOP:
            await self._freeze(name, pid)
        elif (name, number) == ("mosquitto", _KILL):
            self._kill_broker(pid)
        else:
            os.kill(pid, number)

    def _kill_broker(self, pid: int) -> None:
        """Kill the broker, and keep what it had saved at that very moment."""
        os.kill(pid, signal.SIGSTOP)
        while _state(pid) not in "TZ":
            time.sleep(0.001)
        saved = self._database.read_bytes() if self._database.exists() else b""
        self._ledger.deaths.append(Death(time.time(), saved))
        os.kill(pid, signal.SIGKILL)

    async def _freeze(self, name: str, pid: int) -> None:
        began = time.time()
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._chance.uniform(0.3, 3 * self._pause[1] / 4))
        finally:
            os.kill(pid, signal.SIGCONT)
        if name == "mosquitto":
            self._watch.stood_still(began, time.time())

    @asynccontextmanager
    async def _restarted(self, names: set[str]) -> AsyncIterator[None]:
        """Go on when each of these parts has another process."""
        before = {name: await self._pid(name) for name in names}
        yield
        for name, old in before.items():
            await self._pid(name, other_than=old)

    async def _pid(self, name: str, other_than: int = 0) -> int:
        async with asyncio.timeout(RESTART):
            while True:
                try:
                    pid = int(self._pids[name].read_text(encoding="ascii"))
                    if pid != other_than and _state(pid) != "Z":
                        return pid
                except (OSError, ValueError):
                    pass
                await asyncio.sleep(0.02)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]

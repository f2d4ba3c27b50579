# SPDX-License-Identifier: Apache-2.0
"""The processes that run a fleet, seen as one: begun together, and their figures added."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import multiprocessing
import operator
import time
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

from keyfob.errors import UpstreamError
from keyfob.simulation.figures import Figures, Time
from keyfob.simulation.plan import LONGEST_SETTLE, Credential, Plan, boots
from keyfob.simulation.worker import Begin, Ready, Report, Share, Stop, work

__all__ = ["run_fleet"]

_START: Final = 120.0
"""Seconds that processes may take to be ready."""

_SOON: Final = 0.2
_END: Final = LONGEST_SETTLE + 30.0
"""Seconds that they may take to end."""

_CLOSE: Final = 5.0
"""The same, once they have nothing more to say."""


async def run_fleet(
    plan: Plan,
    devices: Sequence[Credential],
    *,
    processes: int,
    stop: asyncio.Event,
    told: Callable[[float, Figures], object],
) -> tuple[Figures, float]:
    """Run a fleet until its time is up, or until somebody says stop.

    Args:
        plan: What it does.
        devices: Who they are.
        processes: How many have a share of them.
        stop: Is set when it is to end early; what was counted by then is returned.
        told: Is called now and then with the seconds that have passed, and what was counted.

    Returns:
        What was counted, and the seconds until nothing more was published. Where a process comes
        to no end, as on a machine that has no time for it, what it told last.

    Raises:
        UpstreamError: A process ended before its time, or never was ready.
    """
    crew = _Crew(plan, devices, processes, told)
    try:
        return await crew.run(stop)
    finally:
        await asyncio.to_thread(crew.close)


class _Crew:
    def __init__(
        self,
        plan: Plan,
        devices: Sequence[Credential],
        processes: int,
        told: Callable[[float, Figures], object],
    ) -> None:
        self._plan = plan
        self._told = told
        self._began = 0.0
        self._events: asyncio.Queue[None] = asyncio.Queue()
        self._ready = 0
        self._ended: set[int] = set()
        self._failed = False
        pairs = list(zip(devices, boots(plan, len(devices)), strict=True))
        # Every so-many-th device, so that each process boots its own all the while.
        self._shares = [Share(plan, pairs[at::processes]) for at in range(processes)]
        self._figures = [Figures(times={each: Counter() for each in Time}) for _ in self._shares]
        self._connections: list[Connection] = []
        self._processes: list[BaseProcess] = []

    async def run(self, stop: asyncio.Event) -> tuple[Figures, float]:
        loop = asyncio.get_running_loop()
        context = multiprocessing.get_context("spawn")
        for at, share in enumerate(self._shares):
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, share), daemon=True)
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)
            loop.add_reader(ours.fileno(), self._hear, at)
        stopped = asyncio.create_task(stop.wait())
        try:
            if not await self._until(lambda: self._ready == len(self._shares), _START, stopped):
                raise UpstreamError(f"the simulation was not ready within {_START:.0f} seconds")
            self._began = time.monotonic() + _SOON
            self._say(Begin(self._began))
            await self._until(self._all_ended, self._plan.duration + _END, stopped)
            seconds = min(time.monotonic() - self._began, self._plan.duration)
            if not self._all_ended():
                self._say(Stop())
                await self._until(self._all_ended, _END)
        finally:
            stopped.cancel()
        return self._sum(), max(seconds, 0.0)

    def close(self) -> None:
        """End what still runs."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join(_CLOSE)
            if process.is_alive():
                process.kill()
                process.join()

    def _all_ended(self) -> bool:
        return len(self._ended) == len(self._shares)

    async def _until(
        self,
        condition: Callable[[], bool],
        seconds: float,
        stopped: asyncio.Task[bool] | None = None,
    ) -> bool:
        """Wait for a condition, or until somebody says stop.

        Returns:
            Whether one of them came within these seconds.
        """
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    if self._failed:
                        raise UpstreamError("a process of the simulation has ended by itself")
                    event = asyncio.create_task(self._events.get())
                    waited = {event} if stopped is None else {event, stopped}
                    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                    if not event.done():
                        event.cancel()
                        break
        except TimeoutError:
            return False
        return True

    def _hear(self, at: int) -> None:
        connection = self._connections[at]
        try:
            word = connection.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(connection.fileno())
            self._failed = self._failed or at not in self._ended
        else:
            if isinstance(word, Ready):
                self._ready += 1
            elif isinstance(word, Report):
                self._figures[at] = word.figures
                if word.last:
                    self._ended.add(at)
                self._told(time.monotonic() - self._began, self._sum())
        self._events.put_nowait(None)

    def _say(self, word: Begin | Stop) -> None:
        for connection in self._connections:
            with contextlib.suppress(OSError):  # it is gone, which is found out elsewhere
                connection.send(word)

    def _sum(self) -> Figures:
        return functools.reduce(operator.add, self._figures)

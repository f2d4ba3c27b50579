# SPDX-License-Identifier: Apache-2.0
"""Keeps child processes running: starts them in order, shows what they print, starts them again.

A child that ends by itself is started again after a pause that doubles from 0.2 to 5 seconds and
is forgotten once the child has run for 10 seconds. A child that ends before it was ever ready
ends everything: its own message says why.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyfob.errors import UpstreamError

__all__ = ["Child", "Supervisor"]

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_STEADY_AFTER: Final = 10.0
_READY_TIMEOUT: Final = 30.0
_STOP_TIMEOUT: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A program to keep running.

    It says that it serves with a line that holds ``ready_line``; ``pid_file`` holds its process
    id while it runs.
    """

    name: str
    command: Sequence[str]
    ready_line: str
    pid_file: Path


class Supervisor:
    """Runs children until it is told to stop.

    Args:
        children: In the order of starting; they are stopped in the reverse order.
        show: Called with each line that a child prints, and with what happens to children.
    """

    def __init__(self, children: Sequence[Child], show: Callable[[str], None]) -> None:
        self._children = children
        self._show = show
        self._stopping = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._stops: dict[str, asyncio.Event] = {}

    async def start(self) -> None:
        """Start every child and return when all are ready.

        Raises:
            UpstreamError: A child ended or was not ready in time; everything is stopped again.
        """
        try:
            for child in self._children:
                await self._start_one(child)
        except BaseException:
            await self.stop()
            raise

    async def wait(self) -> None:
        """Return when somebody called ``request_stop``."""
        await self._stopping.wait()

    def request_stop(self) -> None:
        """Ask ``wait`` to return."""
        self._stopping.set()

    async def stop(self) -> None:
        """Stop every child, the last one started first."""
        for child, keeper in reversed(list(zip(self._children, self._keepers, strict=False))):
            self._stops[child.name].set()
            with contextlib.suppress(UpstreamError):
                await keeper

    async def _start_one(self, child: Child) -> None:
        ready = asyncio.Event()
        self._stops[child.name] = asyncio.Event()
        keeper = asyncio.create_task(self._keep(child, ready), name=f"keep {child.name}")
        self._keepers.append(keeper)
        waiter = asyncio.create_task(ready.wait())
        done, _ = await asyncio.wait(
            {keeper, waiter}, timeout=_READY_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
        )
        waiter.cancel()
        if keeper in done:
            await keeper
        if not done:
            raise UpstreamError(f"{child.name} was not ready within {_READY_TIMEOUT:.0f} seconds")

    async def _keep(self, child: Child, ready: asyncio.Event) -> None:
        clock = asyncio.get_running_loop().time
        pause = _FIRST_PAUSE
        stop = self._stops[child.name]
        while not stop.is_set():
            began = clock()
            process = await self._spawn(child)
            status = await self._attend(child, process, ready, stop)
            child.pid_file.unlink(missing_ok=True)
            if stop.is_set():
                return
            if not ready.is_set():
                raise UpstreamError(f"{child.name} {_ending(status)} before it was ready")
            pause = _FIRST_PAUSE if clock() - began > _STEADY_AFTER else pause
            self._show(f"keyfob     | {child.name} {_ending(status)}; starting it again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _spawn(self, child: Child) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *child.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        child.pid_file.write_text(f"{process.pid}\n", encoding="ascii")
        return process

    async def _attend(
        self,
        child: Child,
        process: asyncio.subprocess.Process,
        ready: asyncio.Event,
        stop: asyncio.Event,
    ) -> int:
        lines = asyncio.create_task(self._show_lines(child, process, ready))
        stopper = asyncio.create_task(_stop_on(stop, process))
        status = await process.wait()
        stopper.cancel()
        await lines
        return status

    async def _show_lines(
        self, child: Child, process: asyncio.subprocess.Process, ready: asyncio.Event
    ) -> None:
        if process.stdout is None:
            return
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line longer than the stream's limit: that part is dropped
                continue
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip()
            self._show(f"{child.name:<10} | {text}")
            if child.ready_line in text:
                ready.set()


async def _stop_on(stop: asyncio.Event, process: asyncio.subprocess.Process) -> None:
    await stop.wait()
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        await asyncio.sleep(_STOP_TIMEOUT)
        process.kill()


def _ending(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"


def _end_with_parent() -> None:
    # prctl(2): a child must not outlive a supervisor that was killed, or the next `keyfob up`
    # finds its ports taken.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

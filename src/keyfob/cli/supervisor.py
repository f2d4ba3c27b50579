# SPDX-License-Identifier: Apache-2.0
"""Keeps child processes running: starts them in order, shows what they print, starts them again.

A child that ends by itself is started again after a pause that doubles from 0.2 to 5 seconds and
is forgotten once the child has run for 10 seconds. A child that ends before it was ever ready
ends everything: its own message says why.

Children are stopped in the reverse order. So that Ctrl-C in a terminal does not reach all of them
at once, each has a session of its own; and so that none outlives a supervisor that was killed,
the kernel tells them to end when it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keyfob.errors import UpstreamError

__all__ = ["START_TIMEOUT", "Child", "Supervisor", "end_with_parent", "send"]

START_TIMEOUT: Final = 30.0
"""Seconds that a child may take until it serves, where nobody says otherwise."""

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_STEADY_AFTER: Final = 10.0
_STOP_TIMEOUT: Final = 10.0
_ASK_AGAIN: Final = 1.0
_LAST_LINES_TIMEOUT: Final = 1.0
_PR_SET_PDEATHSIG: Final = 1
# Looked up here and not in the child: between fork and exec another thread may hold the linker.
_PRCTL: Final = ctypes.CDLL(None).prctl


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A program to keep running.

    It says that it serves with a line in which the regular expression ``ready_line`` is found, for
    the first time within ``ready_within`` seconds; ``pid_file`` holds its process id while it runs.
    """

    name: str
    command: Sequence[str]
    ready_line: str
    pid_file: Path
    ready_within: float = START_TIMEOUT


class Supervisor:
    """Runs children until it is told to stop.

    Args:
        children: In the order of starting; they are stopped in the reverse order.
        show: Called with each line that a child prints, and with what happens to children.
        at_once: They need not wait for each other when they start.
        inherited: File descriptors that the children keep open, such as a lock's.
        stop_timeout: Seconds that a child has to end before it is killed.
    """

    def __init__(
        self,
        children: Sequence[Child],
        show: Callable[[str], None],
        *,
        at_once: bool = False,
        inherited: Sequence[int] = (),
        stop_timeout: float = _STOP_TIMEOUT,
    ) -> None:
        self._children = children
        self._show = show
        self._at_once = at_once
        self._inherited = tuple(inherited)
        self._stop_timeout = stop_timeout
        self._stopping = asyncio.Event()
        self._keepers: list[asyncio.Task[None]] = []
        self._stops: dict[str, asyncio.Event] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    async def start(self) -> None:
        """Start every child and return when all are ready, or when asked to stop.

        Raises:
            UpstreamError: A child ended or was not ready in time; everything is stopped again.
        """
        try:
            if self._at_once:
                await asyncio.gather(*map(self._start_one, self._children))
                return
            for child in self._children:
                if not self._stopping.is_set():
                    await self._start_one(child)
        except BaseException:
            await self.stop()
            raise

    @property
    def stopping(self) -> bool:
        """Whether somebody called ``request_stop``."""
        return self._stopping.is_set()

    async def wait(self) -> None:
        """Return when somebody called ``request_stop``."""
        waiter = asyncio.create_task(self._stopping.wait())
        done, _ = await asyncio.wait({waiter, *self._keepers}, return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        for keeper in done - {waiter}:
            await keeper  # nobody keeps that child any more: say why

    def request_stop(self) -> None:
        """Ask ``start`` and ``wait`` to return."""
        self._stopping.set()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a child, if it runs now."""
        process = self._processes.get(name)
        if process is not None:
            send(process, number)

    async def stop(self) -> None:
        """Stop every child, the last one started first, or all at once if they started so."""
        if self._at_once:
            for stop in self._stops.values():
                stop.set()
        for child, keeper in reversed(list(zip(self._children, self._keepers, strict=False))):
            self._stops[child.name].set()
            with contextlib.suppress(UpstreamError):
                await keeper

    async def _start_one(self, child: Child) -> None:
        ready = asyncio.Event()
        self._stops[child.name] = asyncio.Event()
        keeper = asyncio.create_task(self._keep(child, ready), name=f"keep {child.name}")
        self._keepers.append(keeper)
        waiters = [asyncio.create_task(event.wait()) for event in (ready, self._stopping)]
        done, _ = await asyncio.wait(
            {keeper, *waiters}, timeout=child.ready_within, return_when=asyncio.FIRST_COMPLETED
        )
        for waiter in waiters:
            waiter.cancel()
        if keeper in done:
            await keeper
        if not done:
            raise UpstreamError(
                f"{child.name} was not ready within {child.ready_within:.0f} seconds"
            )

    async def _keep(self, child: Child, ready: asyncio.Event) -> None:
        clock = asyncio.get_running_loop().time
        pause = _FIRST_PAUSE
        stop = self._stops[child.name]
        while not stop.is_set():
            began = clock()
            ending = await self._run(child, ready, stop)
            if stop.is_set():
                return
            if not ready.is_set():
                raise UpstreamError(f"{child.name} {ending} before it was ready")
            pause = _FIRST_PAUSE if clock() - began > _STEADY_AFTER else pause
            self._show(f"keyfob     | {child.name} {ending}; starting it again")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _run(self, child: Child, ready: asyncio.Event, stop: asyncio.Event) -> str:
        """Run a child once and say how it ended."""
        try:
            process, output = await self._spawn(child)
        except OSError as error:
            return f"cannot be started ({error.strerror})"
        self._processes[child.name] = process
        with contextlib.suppress(OSError):  # a full disk is no reason to end
            new = child.pid_file.with_suffix(".new")  # so that nobody reads an empty one
            new.write_text(f"{process.pid}\n", encoding="ascii")
            new.replace(child.pid_file)
        lines = asyncio.create_task(self._show_lines(child, output, ready))
        stopper = asyncio.create_task(self._stop_on(stop, process))
        status = await process.wait()
        stopper.cancel()
        # A process of the child's own may hold the other end open for as long as it likes.
        await asyncio.wait({lines}, timeout=_LAST_LINES_TIMEOUT)
        lines.cancel()
        child.pid_file.unlink(missing_ok=True)
        return _ending(status)

    async def _spawn(self, child: Child) -> tuple[asyncio.subprocess.Process, int]:
        """Start a child; return it and the end of a pipe where its output arrives."""
        # A pipe of asyncio's own would keep ``wait`` waiting until the last process closes it.
        output, theirs = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *child.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=self._inherited,
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(theirs)
        return process, output

    async def _stop_on(self, stop: asyncio.Event, process: asyncio.subprocess.Process) -> None:
        await stop.wait()
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._stop_timeout
        # More than once: Mosquitto 2.0 forgets what comes right after it says that it runs.
        while (left := deadline - clock()) > 0:
            send(process, signal.SIGTERM)
            await asyncio.sleep(min(_ASK_AGAIN, left))
        send(process, signal.SIGKILL)

    async def _show_lines(self, child: Child, output: int, ready: asyncio.Event) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb", buffering=0)
        )
        with contextlib.closing(transport):
            while True:
                try:
                    line = await reader.readline()
                except ValueError:  # a line longer than the stream's limit: that part is dropped
                    continue
                if not line:
                    return
                text = line.decode("utf-8", "replace").rstrip()
                self._show(f"{child.name:<10} | {text}")
                if re.search(child.ready_line, text):
                    ready.set()


def send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal to a process, if it runs still."""
    # Its own methods look first whether it has ended, and so take its status from who waits for it.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


def end_with_parent() -> Callable[[], None]:
    """Return what a new process calls so that it gets SIGTERM when this one is gone (prctl(2))."""
    parent = os.getpid()

    def arrange() -> None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it was gone already
            os._exit(1)

    return arrange


def _ending(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"

# SPDX-License-Identifier: Apache-2.0
"""A process with a share of the devices, all in one event loop.

It says when it is ready, is told when to begin, tells about once a second what it has counted, and
ends when its time is up, when it is told so, or when who started it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

from keyfob.device.driving import tls_context
from keyfob.errors import KeyfobError
from keyfob.simulation.device import Device, Surroundings
from keyfob.simulation.figures import Figures, Ledger, Time, What
from keyfob.simulation.plan import LONGEST_SETTLE, SETTLE, Credential, Plan

__all__ = ["Begin", "Ready", "Report", "Share", "Stop", "work"]

THREADS: Final = 64
"""For what blocks: a connection that is made, the planned end of another."""

_TELL: Final = 1.0
_LAG: Final = 0.1
_LEAVE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Share:
    """Which devices a process has, and when each boots."""

    plan: Plan
    devices: Sequence[tuple[Credential, float]]


@dataclass(frozen=True, slots=True)
class Ready:
    """Said by a worker: it may begin."""


@dataclass(frozen=True, slots=True)
class Begin:
    """Said to a worker: begin at this moment of ``time.monotonic``, which all processes share."""

    at: float


@dataclass(frozen=True, slots=True)
class Stop:
    """Said to a worker: publish no more, wait for what is on its way, and go."""


@dataclass(frozen=True, slots=True)
class Report:
    """Said by a worker: what it has counted until now."""

    figures: Figures
    last: bool = False


def work(connection: Connection, share: Share) -> None:
    """Run a share of the devices; what a process is started with."""
    # Ctrl-C reaches all processes of a terminal; who started this one says what follows from it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Thousands of devices would tell of each of their retries; here they are counted.
    for name in ("keyfob.device", "mqtt"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    asyncio.run(_run(connection, share))


async def _run(connection: Connection, share: Share) -> None:
    await _Worker(connection, share).run()


class _Worker:
    def __init__(self, connection: Connection, share: Share) -> None:
        self._connection = connection
        self._share = share
        self._ledger = Ledger()
        self._devices: list[Device] = []
        self._begin: asyncio.Future[float] = asyncio.Future()
        self._silence = asyncio.Event()
        self._leave = asyncio.Event()
        self._cpu = 0.0

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(THREADS))
        loop.add_reader(self._connection.fileno(), self._hear)
        trust = tls_context(self._share.plan.ca, None)
        self._tell(Ready())
        around = self._surroundings(await self._begin, trust)
        self._devices = [Device(around, who, boot) for who, boot in self._share.devices]
        self._cpu = _cpu()
        lives = [asyncio.create_task(self._live(each)) for each in self._devices]
        minders = [asyncio.create_task(self._tell_often()), asyncio.create_task(self._mind_lag())]
        until = around.begin + self._share.plan.duration
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._silence.wait(), max(until - time.monotonic(), 0.001))
        self._silence.set()
        await self._settle()
        lost = self._owed()
        self._ledger.count(What.LOST, number=lost)
        for minder in minders:
            minder.cancel()
        last = Report(self._figures(lost), last=True)
        self._leave.set()
        for device, life in zip(self._devices, lives, strict=True):
            if not device.connected:  # it waits for its next try, perhaps for long
                life.cancel()
        _, late = await asyncio.wait(lives, timeout=_LEAVE)
        for each in late:
            each.cancel()
        self._tell(last)

    def _surroundings(self, begin: float, trust: ssl.SSLContext) -> Surroundings:
        return Surroundings(
            plan=self._share.plan,
            ledger=self._ledger,
            begin=begin,
            trust=trust,
            broker=trust if self._share.plan.tls else None,
            silence=self._silence,
            leave=self._leave,
        )

    async def _live(self, device: Device) -> None:
        try:
            await device.live()
        except KeyfobError as error:
            self._ledger.count(What.FAULT, error.code)
        except Exception as error:  # noqa: BLE001 - one device of thousands, and it is told
            self._ledger.count(What.FAULT, type(error).__name__)

    def _owed(self) -> int:
        """Count messages on their way to who is there; the others' wait in their sessions."""
        return sum(each.on_the_way for each in self._devices if each.connected)

    async def _settle(self) -> None:
        """Wait for the messages that are on their way."""
        now = time.monotonic()
        end, deadline, before = now + LONGEST_SETTLE, now + SETTLE, -1
        while left := self._owed():
            now = time.monotonic()
            if left != before:
                before, deadline = left, min(now + SETTLE, end)
            if now > deadline:
                return
            await asyncio.sleep(0.1)

    # What is told

    def _figures(self, lost: int = 0) -> Figures:
        return self._ledger.figures(
            connected=sum(each.connected for each in self._devices),
            on_the_way=sum(each.on_the_way for each in self._devices) - lost,
            cpu=_cpu() - self._cpu,
        )

    def _tell(self, word: Ready | Report) -> None:
        try:
            self._connection.send(word)
        except OSError:  # nobody is there any more
            self._silence.set()

    async def _tell_often(self) -> None:
        while True:
            await asyncio.sleep(_TELL)
            self._tell(Report(self._figures()))

    async def _mind_lag(self) -> None:
        while True:
            due = time.monotonic() + _LAG
            await asyncio.sleep(_LAG)
            self._ledger.took(Time.LAG, time.monotonic() - due)

    def _hear(self) -> None:
        try:
            word = self._connection.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._connection.fileno())
            word = Stop()
        if isinstance(word, Begin):
            self._begin.set_result(word.at)
            return
        self._silence.set()
        if not self._begin.done():  # it ends before it began
            self._begin.set_result(time.monotonic())


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

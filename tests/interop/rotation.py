# SPDX-License-Identifier: Apache-2.0
"""An authorization server's keys rotate during a connect storm: announced, and all of a sudden."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.interop.foreign.server import ForeignServer
from tests.interop.storm import Crowd, Storm, connect_storm
from tests.running import Installation
from tests.soak.mqtt5 import Address

PATIENCE = 30.0

REFRESH, RARELY = 2, 3600
COOLDOWN, SELDOM = 3, 600
"""Seconds; the longer ones are there to be of no help."""

ANNOUNCED = [f"jwks_refresh = {REFRESH}", f"jwks_cooldown = {SELDOM}"]
UNANNOUNCED = [f"jwks_refresh = {RARELY}", f"jwks_cooldown = {COOLDOWN}"]
"""Lines of [[issuer]]: with the one only refreshing finds a new key, with the other only asking."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """How long, and how hard; a storm goes on until its last rotation is through."""

    seconds: float
    rate: float
    devices: int


SHORT = Form(seconds=1, rate=60, devices=15)
FULL = Form(seconds=60, rate=150, devices=30)


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """What a storm with rotating keys came to.

    Attributes:
        storm: Every CONNECT.
        seconds: How long it lasted.
        rotated: The keys that came into use.
    """

    storm: Storm
    seconds: float
    rotated: Sequence[str]

    def outage(self, kid: str) -> float:
        """Seconds from the first to the last refusal of a key's good tokens."""
        times = [attempt.at for attempt in self.storm.refused(kid)]
        return max(times) - min(times) if times else 0.0

    def figures(self) -> str:
        """What was measured, in one line."""
        attempts = self.storm.attempts
        longest = max(self.outage(kid) for kid in self.rotated)
        return (
            f"{len(attempts)} CONNECTs with good tokens in {self.seconds:.0f} s beside "
            f"{len(self.storm.forged)} forged ones, {len(self.rotated)} rotations: "
            f"{len(self.storm.refused())} good tokens refused, for {longest:.2f} s at most, "
            f"longest answer {max(attempt.took for attempt in attempts) * 1000:.0f} ms"
        )


def rotate_announced(up: Installation, crowd: Crowd, form: Form) -> Rotation:
    """Publish keys one refresh interval before their use, at the worst moment for it."""

    async def rotate() -> None:
        await _just_fetched(crowd.server)
        await asyncio.to_thread(crowd.server.publish_key)
        await asyncio.sleep(REFRESH)
        await asyncio.to_thread(crowd.server.use_key)

    return asyncio.run(_rotate(up, crowd, form, rotate))


def rotate_unannounced(up: Installation, crowd: Crowd, form: Form) -> Rotation:
    """Use keys that nobody has heard of, just when the forger has spent the cooldown."""

    async def rotate() -> None:
        await _just_fetched(crowd.server)
        await asyncio.to_thread(crowd.server.rotate_unannounced)

    return asyncio.run(_rotate(up, crowd, form, rotate))


async def _rotate(
    up: Installation, crowd: Crowd, form: Form, rotate: Callable[[], Awaitable[None]]
) -> Rotation:
    address = Address("127.0.0.1", up.settings.mosquitto.plain_port)
    began = time.monotonic()
    rotated: list[str] = []
    async with connect_storm(address, crowd, form.rate) as storm:
        await _everybody_in(storm, 0)
        while time.monotonic() - began < form.seconds:
            known = len(storm.kids)
            await rotate()
            await _everybody_in(storm, known)
            rotated.append(storm.kids[known])
    return Rotation(storm=storm, seconds=time.monotonic() - began, rotated=rotated)


async def _everybody_in(storm: Storm, number: int) -> None:
    """Wait until tokens of the key of that number have let in as many as there are devices."""

    def through() -> bool:
        return number < len(storm.kids) and storm.let_in(storm.kids[number]) >= storm.devices

    await _eventually("every device came in", through)


async def _just_fetched(server: ForeignServer) -> None:
    """Wait until the guard has fetched the keys, so that it is longest until it does again."""
    before = server.keys_asked()
    await _eventually("the keys are fetched", lambda: server.keys_asked() > before)


async def _eventually(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s in vain: {what}"
        await asyncio.sleep(0.01)

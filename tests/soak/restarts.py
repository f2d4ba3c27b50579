# SPDX-License-Identifier: Apache-2.0
"""One installation, its devices, and what is done to it; and what came of it all."""

from __future__ import annotations

import asyncio
import math
import random
import ssl
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx

from keyfob.cli.server_database import server_database
from keyfob.server.register import Register
from keyfob.server.wishes import DeviceWish, Rights
from tests.running import Installation
from tests.soak.disruptions import GENTLE, HARD, Disruptor
from tests.soak.fleet import Device, Fleet, Way
from tests.soak.ledger import Ledger, Loss
from tests.soak.mqtt5 import Address
from tests.soak.plan import Plan
from tests.soak.trespasser import NAME as TRESPASSER
from tests.soak.trespasser import trespass
from tests.soak.watch import Watch

__all__ = ["Report", "endure"]

PARTS = ("server", "guard", "mosquitto")
SOURCES = 3
DRAIN = 60.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of it."""

    plan: Plan
    ledger: Ledger
    watch: Watch
    counts: Counter[str]
    disruptions: Counter[str]
    losses: list[Loss]

    @property
    def unexplained(self) -> list[Loss]:
        """What was lost, and not by the broker between acknowledging and saving."""
        return [loss for loss in self.losses if loss.death is None]

    def __str__(self) -> str:
        return "\n".join([*self._deliveries(), *self._connections(), *self._counted()])

    def _deliveries(self) -> list[str]:
        ledger = self.ledger
        acknowledged = sum(m.acknowledged_at is not None for m in ledger.messages.values())
        owed = sum(1 for _ in ledger.owed())
        came = [number for device in ledger.received.values() for number in device.values()]
        return [
            f"seed {self.plan.seed}, {self.plan.devices} devices, {self.plan.seconds:.0f} s",
            f"messages: {len(ledger.messages)} sent, {acknowledged} acknowledged",
            f"deliveries: {owed} owed, {sum(came)} made, {sum(came) - len(came)} of them again",
            f"lost: {len(self.losses)}, of them {len(self.unexplained)} unexplained",
            f"the broker was killed {len(ledger.deaths)} times",
            *self._by_death(),
        ]

    def _connections(self) -> list[str]:
        ledger, watch = self.ledger, self.watch
        return [
            f"sessions lost: {len(ledger.lost_sessions)}",
            f"trespasses: {len(ledger.trespasses)}; wrongly refused: {len(ledger.faults)}",
            f"ended by expiry: {watch.ends}, at most {watch.lateness:.2f} s late",
            *(
                f"memory of {name}: {weight.most:.1f} MiB at most, in {len(weight.lives)} lives;"
                f" {_grown(weight.growth)}"
                for name, weight in watch.weights.items()
            ),
        ]

    def _counted(self) -> list[str]:
        both = (self.counts, self.disruptions)
        return [f"{n:>7}  {what}" for counter in both for what, n in sorted(counter.items())]

    def _by_death(self) -> list[str]:
        lines = []
        for death in self.ledger.deaths:
            lost = [loss for loss in self.losses if loss.death is death]
            if lost:
                before = max(death.at - loss.sent_at for loss in lost)
                lines.append(f"  {len(lost)} unsaved, sent up to {before * 1000:.0f} ms before")
        return lines


def _grown(mib: float) -> str:
    if math.isinf(mib):
        return "none of them long enough to tell whether it grows"
    return f"in one of them it grew by {mib:.1f}"


async def endure(running: Installation, plan: Plan) -> Report:
    """Run the devices through it all, wait until they have what they are owed, and report."""
    chance = random.Random(plan.seed)
    pids = {name: running.directory / "run" / f"{name}.pid" for name in PARTS}
    watch = Watch(pids)
    ledger = Ledger(_sources(plan))
    secrets = _registered(running, plan, ledger, chance)
    database = running.settings.mosquitto.directory / "mosquitto.db"
    disruptor = Disruptor(pids, database, ledger, watch, plan)
    limits = httpx.Limits(max_connections=plan.devices)
    tls = ssl.create_default_context(cafile=running.ca)
    async with httpx.AsyncClient(verify=tls, limits=limits, timeout=5, trust_env=False) as http:
        fleet = Fleet(http, running.token_url, _addresses(running), ledger, watch, plan.interval)
        looking = asyncio.create_task(watch.look())
        async with asyncio.TaskGroup() as group:
            for name, way in _ways(plan).items():
                device = Device(fleet, name, secrets[name], way, random.Random(plan.seed + name))
                group.create_task(device.live())
            stranger = random.Random(f"{plan.seed}/t")
            group.create_task(trespass(fleet, secrets[TRESPASSER], tuple(ledger.sources), stranger))
            await _disrupt(disruptor, plan)
            fleet.publishing = False
            await disruptor.all_running()
            await _drained(ledger)
            fleet.closing = True
        looking.cancel()
    return Report(
        plan=plan,
        ledger=ledger,
        watch=watch,
        counts=fleet.counts,
        disruptions=disruptor.done,
        losses=ledger.losses(),
    )


async def _disrupt(disruptor: Disruptor, plan: Plan) -> None:
    """Two thirds of the time what must cost nothing, then the broker's sudden deaths."""
    began = time.time()
    await asyncio.sleep(plan.pause[1])
    await disruptor.run(GENTLE, began + plan.seconds * 2 / 3)
    await disruptor.run(HARD, began + plan.seconds)


async def _drained(ledger: Ledger) -> None:
    """Wait until all that is owed has come, or for so long that it never will."""
    ends = time.time() + DRAIN
    while any(loss.death is None for loss in ledger.losses()):
        if time.time() > ends:
            return
        await asyncio.sleep(0.5)


def _names(plan: Plan) -> list[str]:
    return [f"d{number:02}" for number in range(plan.devices)]


def _sources(plan: Plan) -> dict[str, tuple[str, ...]]:
    names = _names(plan)
    return {
        name: tuple(names[(at + step) % len(names)] for step in range(1, SOURCES + 1))
        for at, name in enumerate(names)
    }


def _ways(plan: Plan) -> dict[str, Way]:
    names = _names(plan)
    ways = {}
    for at, name in enumerate(names):
        sometimes = tuple(names[(at + step) % len(names)] for step in (SOURCES + 1, SOURCES + 2))
        ways[name] = Way(sometimes=sometimes if at % 4 == 1 else (), forgetful=at % 5 == 2)
    return ways


def _registered(
    running: Installation, plan: Plan, ledger: Ledger, chance: random.Random
) -> dict[str, str]:
    secrets = {}
    with Register.open(server_database(running.settings)) as register:
        for name, way in _ways(plan).items():
            secrets[name] = register.add_device(
                DeviceWish(
                    name,
                    rights=Rights(
                        publish=["s/{device}/#"],
                        subscribe=[
                            f"s/{source}/+" for source in ledger.sources[name] + way.sometimes
                        ],
                    ),
                    lifetime=chance.randint(*plan.lifetimes),
                )
            ).secret
        secrets[TRESPASSER] = register.add_device(
            DeviceWish(TRESPASSER, rights=Rights(publish=["t/#"], subscribe=["t/#"]), lifetime=60)
        ).secret
    return secrets


def _addresses(running: Installation) -> tuple[Address, ...]:
    tls = ssl.create_default_context(cafile=Path(running.ca))
    mosquitto = running.settings.mosquitto
    return (
        Address("localhost", mosquitto.port, tls),
        Address("127.0.0.1", mosquitto.plain_port),
    )

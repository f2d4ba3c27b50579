# SPDX-License-Identifier: Apache-2.0
"""The processes of a fleet: begun together, added, ended early, and missed when one is gone."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from typing import Any

import pytest

from keyfob.errors import UpstreamError
from keyfob.simulation.crew import run_fleet
from keyfob.simulation.figures import Figures, What
from keyfob.simulation.plan import Credential, Plan, boots
from tests.free_ports import free_ports

DEVICES = tuple(Credential(client_id=f"d{n}", secret="s" * 32) for n in range(5))


def plan(**changes: Any) -> Plan:
    """A fleet whose server and broker are away."""
    server, broker = free_ports(2)
    values: dict[str, Any] = {
        "issuer": f"http://127.0.0.1:{server}",
        "ca": None,
        "host": "127.0.0.1",
        "port": broker,
        "tls": False,
        "carry": "password",
        "renew": "auto",
        "topic": "t/{device}",
        "qos": 1,
        "publish_every": 1.0,
        "boot": 0.0,
        "duration": 600.0,
        "run": "r",
    }
    return Plan(**(values | changes))


def run(
    given: Plan,
    told: Callable[[float, Figures], object] = lambda *_: None,
    *,
    stopped: bool = False,
) -> tuple[Figures, float]:
    async def live() -> tuple[Figures, float]:
        stop = asyncio.Event()
        if stopped:
            stop.set()

        def heard(seconds: float, figures: Figures) -> None:
            if told(seconds, figures) == "stop":
                stop.set()

        return await run_fleet(given, DEVICES, processes=2, stop=stop, told=heard)

    return asyncio.run(live())


def test_devices_whose_server_is_away_are_counted_until_somebody_says_stop() -> None:
    def told(_: float, figures: Figures) -> str:
        return "stop" if figures.total(What.NO_CONNECTION) >= len(DEVICES) else ""

    figures, seconds = run(plan(), told)
    assert 0 < seconds < 600
    assert set(figures.of(What.NO_CONNECTION)) == {"upstream_unavailable"}
    assert set(figures.of(What.METADATA)) == {"upstream_unavailable"}
    assert figures.connected == figures.on_the_way == figures.total(What.FAULT) == 0
    assert len(figures.cpu) == 2
    assert multiprocessing.active_children() == []


def test_a_fleet_ends_by_itself_when_its_time_is_up() -> None:
    figures, seconds = run(plan(duration=0.5))
    assert seconds == 0.5
    assert figures.total(What.FAULT) == 0


def test_a_fleet_that_is_not_wanted_any_more_does_not_begin() -> None:
    figures, _ = run(plan(), stopped=True)
    assert not figures.requests
    assert multiprocessing.active_children() == []


def test_a_process_that_is_killed_is_missed() -> None:
    def told(*_: object) -> None:
        multiprocessing.active_children()[0].kill()

    with pytest.raises(UpstreamError, match="has ended by itself"):
        run(plan(), told)
    assert multiprocessing.active_children() == []


def test_devices_boot_within_their_time_and_the_same_way_for_a_seed() -> None:
    first = boots(plan(boot=60.0, seed=1), 1_000)
    assert all(0 <= each < 60 for each in first)
    assert first == boots(plan(boot=60.0, seed=1), 1_000) != boots(plan(boot=60.0, seed=2), 1_000)
    assert boots(plan(), 3) == [0.0, 0.0, 0.0]

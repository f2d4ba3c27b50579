# SPDX-License-Identifier: Apache-2.0
"""Foreign servers rotate their keys while devices connect all the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.foreign.server import ForeignServer
from tests.interop.mosquittos import version_of
from tests.interop.rotation import (
    ANNOUNCED,
    COOLDOWN,
    FULL,
    REFRESH,
    UNANNOUNCED,
    Form,
    Rotation,
    rotate_announced,
    rotate_unannounced,
)
from tests.interop.storm import Crowd
from tests.running import SERVER_UNAVAILABLE, Installation, broker_version, installation

pytestmark = pytest.mark.interop

SLACK = 1.5
"""Seconds of a busy machine: the fetch that ends a cooldown, and CONNECTs that were under way."""


def mosquitto_lines(decisions: str) -> list[str]:
    """That way of waiting, for a guard as slow as this machine makes it: speed is not tested."""
    return ["guard_timeout_ms = 8000", f'decisions = "{decisions}"']


@pytest.fixture(scope="session")
def form() -> Form:
    return FULL


@pytest.fixture(scope="session")
def crowd(foreign: ForeignServer, form: Form) -> Crowd:
    """The devices of the storm, and one that the forger imitates."""
    names = [f"stormer-{number}" for number in range(form.devices + 1)]
    foreign.add("sensor", *names)
    return Crowd(server=foreign, devices=names)


# Every test has an installation of its own: the fetches of others would count as this guard's.


@pytest.fixture
def refreshing(broker: str, foreign: ForeignServer, tmp_path: Path) -> Iterator[Installation]:
    """An installation that learns of new keys by refreshing alone."""
    lines, trust = mosquitto_lines("blocking"), foreign.settings(*ANNOUNCED)
    with installation(
        tmp_path / "data", plain=True, mosquitto=lines, issuers=trust, program=broker
    ) as up:
        yield up


@pytest.fixture(scope="session", params=["blocking", "delayed"])
def decisions(request: pytest.FixtureRequest, broker: str) -> str:
    """How the broker waits for the guard."""
    how: str = request.param
    if how == "delayed" and broker_version(broker) < (2, 1):
        pytest.skip("Mosquitto 2.0 cannot delay a decision")
    return how


@pytest.fixture
def asking(
    broker: str, decisions: str, foreign: ForeignServer, tmp_path: Path
) -> Iterator[Installation]:
    """An installation that learns of new keys when their tokens come, once per cooldown."""
    lines, trust = mosquitto_lines(decisions), foreign.settings(*UNANNOUNCED)
    with installation(
        tmp_path / "data", plain=True, mosquitto=lines, issuers=trust, program=broker
    ) as up:
        yield up


def test_a_key_published_one_refresh_before_its_use_costs_no_good_token(
    refreshing: Installation, crowd: Crowd, form: Form, measured: Callable[[str], None]
) -> None:
    """At the worst moment: published just after the guard looked, while it may not ask for keys."""
    came_to = rotate_announced(refreshing, crowd, form)
    measured(told(refreshing, crowd, f"keys published {REFRESH} s before their use", came_to))
    assert came_to.rotated
    assert came_to.storm.refused() == []


def test_a_key_used_unannounced_costs_at_most_one_cooldown(
    asking: Installation,
    decisions: str,
    crowd: Crowd,
    form: Form,
    measured: Callable[[str], None],
) -> None:
    """And nothing with delayed decisions; nobody is told that a good token is bad."""
    came_to = rotate_unannounced(asking, crowd, form)
    how = f"keys used unannounced, cooldown {COOLDOWN} s, decisions {decisions}"
    measured(told(asking, crowd, how, came_to))
    assert came_to.rotated
    refused = came_to.storm.refused()
    if decisions == "delayed":
        assert refused == []
    assert {attempt.code for attempt in refused} <= {asking.connack(SERVER_UNAVAILABLE)}
    # Tokens of keys that are known already are let in all the time.
    assert {attempt.kid for attempt in refused} <= set(came_to.rotated)
    for kid in came_to.rotated:
        assert came_to.outage(kid) <= COOLDOWN + SLACK


def told(up: Installation, crowd: Crowd, what: str, came_to: Rotation) -> str:
    """What was measured, in one line."""
    broker = version_of(up.settings.mosquitto.program)
    return f"Mosquitto {broker}, {crowd.server.name}: {what}: {came_to.figures()}"

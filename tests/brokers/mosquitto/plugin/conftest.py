# SPDX-License-Identifier: Apache-2.0
"""The plugin, compiled twice: as it is built for users, and so that every wrong access shows.

``runner`` has its pure parts alone; ``broker`` has all of it in a Mosquitto, with a ``guard`` that
does as the test says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.brokers.mosquitto.plugin.broker import (
    MOSQUITTO,
    Broker,
    Plugin,
    build_plugin,
    is_2_1,
)
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard
from tests.brokers.mosquitto.plugin.runner import BUILDS, PARTS_BUILDS, Runner, compile_runner
from tests.interop.mosquittos import INSTALLED, NEWEST, NEXT, cached


@pytest.fixture(scope="session", params=list(PARTS_BUILDS))
def runner(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runner]:
    """One for all tests: no answer depends on more than what the test itself has set up."""
    program = tmp_path_factory.mktemp("runner") / "runner"
    compile_runner(program, request.param)
    started = Runner(program)
    yield started
    started.close()


@pytest.fixture(scope="session", params=list(BUILDS))
def plugin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    return build_plugin(tmp_path_factory.mktemp("plugin"), request.param)


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path: that of a Unix socket has 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="keyfob-") as path:
        yield Path(path)


@pytest.fixture
def guard(directory: Path) -> Iterator[FakeGuard]:
    guard = FakeGuard(directory / "guard.sock")
    guard.start()
    yield guard
    guard.stop()
    assert guard.complaints == []


@pytest.fixture
def broker(directory: Path, plugin: Plugin, guard: FakeGuard) -> Iterator[Broker]:
    with Broker(directory, plugin, guard.path) as started:
        yield started


@pytest.fixture
def impatient(directory: Path, plugin: Plugin, guard: FakeGuard) -> Iterator[Broker]:
    """A broker that waits for each decision, and no longer than by default."""
    options = {"guard_timeout_ms": "200", "decisions": "blocking"}
    with Broker(directory, plugin, guard.path, options) as started:
        yield started


@pytest.fixture(scope="session")
def newest() -> str:
    """A Mosquitto that can delay decisions."""
    if MOSQUITTO is not None and is_2_1(MOSQUITTO):
        return MOSQUITTO
    program = cached(NEWEST)
    if program is None:
        pytest.skip(f"no Mosquitto of {NEWEST} here; `make interop` fetches one")
    return str(program)


@pytest.fixture(scope="session", params=[INSTALLED, NEXT, NEWEST])
def any_program(request: pytest.FixtureRequest) -> str:
    """Each Mosquitto that this machine has."""
    program = MOSQUITTO if request.param == INSTALLED else cached(request.param)
    if program is None:
        pytest.skip(f"no Mosquitto of {request.param} here; `make interop` fetches one")
    return str(program)


@pytest.fixture
def make(
    directory: Path, plugin: Plugin, guard: FakeGuard, any_program: str
) -> Callable[..., Broker]:
    """Return what makes a broker with more lines."""

    def started(*lines: str, **options: str) -> Broker:
        return Broker(directory, plugin, guard.path, options, lines=lines, program=any_program)

    return started

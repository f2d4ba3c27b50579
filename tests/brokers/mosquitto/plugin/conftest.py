# SPDX-License-Identifier: Apache-2.0
"""The plugin, compiled twice: as it is built for users, and so that every wrong access shows.

``runner`` has its pure parts alone; ``broker`` has all of it in a Mosquitto, with a ``guard`` that
does as the test says.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers.mosquitto.plugin.broker import Broker, Plugin, build_plugin
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard
from tests.brokers.mosquitto.plugin.runner import BUILDS, Runner, compile_runner


@pytest.fixture(scope="session", params=list(BUILDS))
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
    """A broker that waits for a decision no longer than by default."""
    with Broker(directory, plugin, guard.path, {"guard_timeout_ms": "200"}) as started:
        yield started

# SPDX-License-Identifier: Apache-2.0
"""Installations that tests share, and the foreign authorization server of some."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Installation, installation
from tests.system.foreign import Foreign, foreign_server
from tests.system.syslog_receiver import syslog_receiver


@pytest.fixture(autouse=True)
def _nobody_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Disconnect a test's clients when it ends: the next one shares the broker with nobody."""
    yield
    for name in {"running", "trusting"} & set(request.fixturenames):
        up: Installation = request.getfixturevalue(name)
        up.close_clients()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """`keyfob up`, shared: no test stops a part of it."""
    with installation(tmp_path_factory.mktemp("installation") / "data", plain=True) as up:
        yield up


@pytest.fixture(scope="session")
def foreign() -> Iterator[Foreign]:
    """An authorization server that is asked about its tokens; who makes it unwell makes it well."""
    with foreign_server() as server:
        yield server


@pytest.fixture(scope="session")
def syslog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[bytes]]]:
    """A syslog socket, and what came there."""
    path = tmp_path_factory.mktemp("syslog") / "log"
    with syslog_receiver(path) as came:
        yield path, came


@pytest.fixture(scope="session")
def trusting(
    foreign: Foreign,
    syslog: tuple[Path, list[bytes]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installation]:
    """`keyfob up` that trusts the foreign server, too, and serves HTTP; its guard may die."""
    directory = tmp_path_factory.mktemp("trusting") / "data"
    directory.mkdir(mode=0o700)
    foreign.write_secrets(directory)
    sections = foreign.sections(timeout_ms=500, reask=2, cache=2, negative_cache=1)
    audit = f'audit = ["file:log/audit.jsonl", "console", "syslog:{syslog[0]}"]'
    with installation(directory, plain=True, guard=[audit], issuers=[sections]) as up:
        yield up

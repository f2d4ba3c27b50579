# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the authorization server's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from keyfob.server.app import create_app
from keyfob.server.audit import TokenEvent
from keyfob.server.credentials import verify_secret
from keyfob.server.register import Register
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import open_store
from tests.postgresql import Cluster
from tests.server.world import ISSUER, Clock, World


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that has a database with both kinds, unless it is marked ``sqlite``."""
    if "database" in metafunc.fixturenames:
        of_sqlite = metafunc.definition.get_closest_marker("sqlite")
        kinds = ["sqlite"] if of_sqlite else ["sqlite", "postgresql"]
        metafunc.parametrize("database", kinds, indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        yield tmp_path / "server.db"
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    with cluster.database() as url:
        yield url


@pytest.fixture
def settings(database: Place) -> ServerSettings:
    # Without limits: these tests ask more often than anybody may (test_limits.py has them).
    return ServerSettings(issuer=ISSUER, audience="mqtt", database=database, limits=None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def register(database: Place, clock: Clock) -> Iterator[Register]:
    with Register(open_store(database), clock=clock) as register:
        yield register


@pytest.fixture
async def world(settings: ServerSettings, register: Register, clock: Clock) -> AsyncIterator[World]:
    events: list[TokenEvent] = []
    verified: list[tuple[str, str | None]] = []

    def verify(presented: str, stored: str | None) -> bool:
        verified.append((presented, stored))
        if made.on_verify is not None:
            made.on_verify()
        return verify_secret(presented, stored)

    app = create_app(settings, audit=events.append, clock=clock, sleep=clock.sleep, verify=verify)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=ISSUER) as http,
    ):
        made = World(settings, register, http, clock, events, verified, app.state.keyring)
        yield made

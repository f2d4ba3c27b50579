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
from keyfob.server.stores.sqlite import open_store
from tests.server.world import ISSUER, Clock, World


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "server.db"


@pytest.fixture
def settings(database: Path) -> ServerSettings:
    # Without limits: these tests ask more often than anybody may (test_limits.py has them).
    return ServerSettings(issuer=ISSUER, audience="mqtt", database=database, limits=None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def register(database: Path, clock: Clock) -> Iterator[Register]:
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

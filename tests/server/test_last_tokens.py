# SPDX-License-Identifier: Apache-2.0
"""When a device last got a token is written down, and never at the cost of an answer."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

import httpx
import pytest

from keyfob.server.app import create_app
from keyfob.server.last_tokens import LastTokens
from keyfob.server.register import Register
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import Store, open_store
from keyfob.server.stores.writer import Writer
from tests.server.databases import impatient
from tests.server.world import ISSUER, Clock

pytestmark = pytest.mark.anyio


async def test_it_is_on_disk_at_the_latest_when_the_server_has_stopped(
    settings: ServerSettings, register: Register, clock: Clock
) -> None:
    issued = register.add_device("dev1")
    app = create_app(settings, clock=clock, sleep=clock.sleep)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=ISSUER) as http,
    ):
        form = {
            "grant_type": "client_credentials",
            "client_id": "dev1",
            "client_secret": issued.secret,
        }
        assert (await http.post("/oauth2/token", data=form)).status_code == 200
    assert register.show_device("dev1").last_token_at == clock.now


async def test_a_busy_database_only_delays_it(database: Place, register: Register) -> None:
    register.add_device("dev1")
    register.add_device("dev2")
    blocker = open_store(database)
    writer = Writer(database, most=1)
    await writer.run(impatient)  # its one thread does all that follows
    last_tokens = LastTokens(writer)
    last_tokens.note("dev1", 1.0)
    last_tokens.note("dev2", 1.0)
    with blocker.transaction():
        await last_tokens.flush()
    assert register.show_device("dev1").last_token_at is None
    last_tokens.note("dev1", 2.0)
    last_tokens.note("gone", 2.0)
    await last_tokens.close()
    assert register.show_device("dev1").last_token_at == 2.0
    assert register.show_device("dev2").last_token_at == 1.0
    blocker.close()


async def test_a_broken_database_costs_no_flush_and_no_ending(
    settings: ServerSettings, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer's and the reader's connections are closed nevertheless."""
    secret = register.add_device("dev1").secret
    closed: list[Store] = []
    close = Store.close

    def counted(store: Store) -> None:
        closed.append(store)
        close(store)

    def fail(store: Store, moments: Mapping[str, float]) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(Store, "close", counted)
    monkeypatch.setattr(Store, "note_tokens", fail)
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=ISSUER) as http,
    ):
        form = {
            "grant_type": "client_credentials",
            "client_id": "dev1",
            "client_secret": secret,
        }
        assert (await http.post("/oauth2/token", data=form)).status_code == 200
    assert len(closed) == len(set(closed)) >= 2


async def test_an_ending_that_fails_still_closes_the_writer(
    database: Place, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register.add_device("dev1")
    writer = Writer(database)
    last_tokens = LastTokens(writer)
    last_tokens.note("dev1", 1.0)

    def fail(store: Store, moments: Mapping[str, float]) -> None:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr(Store, "note_tokens", fail)
    with pytest.raises(RuntimeError, match="not foreseen"):
        await last_tokens.close()
    with pytest.raises(RuntimeError, match="shutdown"):
        await writer.run(lambda _: None)

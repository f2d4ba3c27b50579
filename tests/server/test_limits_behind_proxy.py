# SPDX-License-Identifier: Apache-2.0
"""Behind a proxy that is trusted each device has its own allowance, and nobody gets another's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import httpx
import pytest

from keyfob.http.proxy import Proxies
from keyfob.server.app import create_app
from keyfob.server.audit import TokenEvent
from keyfob.server.limits import LimitSettings
from keyfob.server.mutual_tls import MutualTls
from keyfob.server.settings import ServerSettings
from tests.server.world import ISSUER

pytestmark = pytest.mark.anyio

PROXY, STRANGER = "10.0.0.1", "203.0.113.9"
TRIES = 5
FEW = LimitSettings(failure_burst=TRIES, failure_rate=0.001, address_failure_burst=TRIES)

Asked = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
async def events() -> list[TokenEvent]:
    return []


@pytest.fixture
async def asking(settings: ServerSettings, events: list[TokenEvent]) -> AsyncIterator[Asked]:
    """Give clients that come from an address."""
    app = create_app(
        replace(settings, limits=FEW, mutual_tls=MutualTls(proxies=Proxies.at([PROXY]))),
        audit=events.append,
    )

    @asynccontextmanager
    async def at(peer: str) -> AsyncIterator[httpx.AsyncClient]:
        transport = httpx.ASGITransport(app, client=(peer, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url=ISSUER) as http:
            yield http

    async with app.router.lifespan_context(app):
        yield at


async def wrong(http: httpx.AsyncClient, forwarded: str) -> int:
    """Guess a secret; return the status."""
    form = {"grant_type": "client_credentials", "client_id": "dev1", "client_secret": "kfs_x"}
    headers = {"X-Forwarded-For": forwarded}
    return (await http.post("/oauth2/token", data=form, headers=headers)).status_code


async def test_a_guesser_behind_the_proxy_uses_up_his_own_allowance(
    asking: Asked, events: list[TokenEvent]
) -> None:
    async with asking(PROXY) as http:
        found = [await wrong(http, "198.51.100.1") for _ in range(TRIES + 1)]
        assert found == [401] * TRIES + [429]
        assert await wrong(http, "198.51.100.2") == 401
    assert {event.peer for event in events} == {"198.51.100.1", "198.51.100.2"}


async def test_whoever_writes_an_address_himself_stays_who_he_is(
    asking: Asked, events: list[TokenEvent]
) -> None:
    async with asking(STRANGER) as http:
        found = [await wrong(http, f"198.51.100.{number}") for number in range(TRIES + 1)]
        assert found == [401] * TRIES + [429]
    async with asking(PROXY) as http:  # through the proxy, which appends where he came from
        assert await wrong(http, f"198.51.100.99, {STRANGER}") == 429
    assert {event.peer for event in events} == {STRANGER}

# SPDX-License-Identifier: Apache-2.0
"""The other issuer over HTTP: how often strangers make us ask it, and where it may send us."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from keyfob.server.openid.provider import OpenIdIssuer, OpenIdUnavailableError, _metadata
from keyfob.server.openid.settings import OpenIdSettings
from tests.server.world import Clock

pytestmark = pytest.mark.anyio
PATHS = {"authorization_endpoint": "/a", "token_endpoint": "/t", "jwks_uri": "/k"}


@dataclass
class Issuer:
    """A server that answers each request with one document."""

    url: str = ""
    status: int = 200
    more: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split(b" ")[1].decode())
        await asyncio.sleep(0.05)
        body = json.dumps(document(self.url) | self.more).encode()
        start = f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(body)}\r\n"
        writer.write(start.encode() + b"Connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()


def document(url: str) -> dict[str, Any]:
    return {"issuer": url} | {name: url + path for name, path in PATHS.items()}


def settings(url: str) -> OpenIdSettings:
    return OpenIdSettings(issuer=url, client_id="keyfob", client_secret="s")


@asynccontextmanager
async def served(clock: Clock) -> AsyncIterator[tuple[Issuer, OpenIdIssuer]]:
    server = Issuer()
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    issuer = OpenIdIssuer(settings(server.url), clock, clock)
    try:
        yield server, issuer
    finally:
        await issuer.aclose()
        listening.close()


async def test_however_many_leave_at_once_the_issuer_is_asked_once() -> None:
    async with served(Clock()) as (server, issuer):
        found = await asyncio.gather(*(issuer.metadata() for _ in range(20)))
        assert len(set(found)) == 1
        assert server.asked == ["/.well-known/openid-configuration"]


async def test_an_issuer_that_fails_is_not_asked_by_every_stranger_but_again_in_a_while() -> None:
    clock = Clock()
    async with served(clock) as (server, issuer):
        server.status = 500
        tried = await asyncio.gather(
            *(issuer.metadata() for _ in range(20)), return_exceptions=True
        )
        assert {type(one) for one in tried} == {OpenIdUnavailableError}
        assert len(server.asked) == 1
        server.status = 200
        clock.now += 10
        assert (await issuer.metadata()).token_endpoint == server.url + "/t"


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]/x", "http://id.example/"]
)
def test_an_issuer_elsewhere_sends_us_to_nothing_on_this_machine(name: str, url: str) -> None:
    issuer = settings("https://id.example")
    good = document("https://id.example")
    assert _metadata(good, issuer).jwks_uri == "https://id.example/k"
    with pytest.raises(OpenIdUnavailableError):
        _metadata(good | {name: url}, issuer)


@pytest.mark.parametrize("url", ["https://\u2603.x/t", "https://xn--/t", "https://[v1.x]/t"])
async def test_an_address_that_is_none_is_no_answer_and_no_crash(url: str) -> None:
    async with served(Clock()) as (server, issuer):
        server.more = {"token_endpoint": url}
        with pytest.raises(OpenIdUnavailableError):
            await issuer.subject("code", verifier="v", redirect_uri="https://x/", nonce="n")

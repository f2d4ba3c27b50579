# SPDX-License-Identifier: Apache-2.0
"""HTTP beside other work: it shares the event loop, and leaves the process's signals alone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from keyfob.errors import ConfigError
from keyfob.http.listen import Listen
from keyfob.http.serving import serving
from tests.http.running import application
from tests.server.certificates import Authority

pytestmark = pytest.mark.anyio


async def test_it_answers_while_the_context_lasts_and_frees_its_port() -> None:
    async with serving(application(), Listen(port=0)) as server:
        port = server.port
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{port}/healthz")
        assert (answer.status_code, answer.text) == (200, "ok")
    socket.create_server(("127.0.0.1", port)).close()


async def test_signals_stay_whose_they_were() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, seen.set)
    try:
        async with serving(application(), Listen(port=0)) as server:
            os.kill(os.getpid(), signal.SIGTERM)
            await seen.wait()
            async with httpx.AsyncClient() as http:
                answer = await http.get(f"http://127.0.0.1:{server.port}/healthz")
            assert answer.status_code == 200
            assert not server.should_exit
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_an_error_of_the_context_ends_it_too() -> None:
    port = 0
    with pytest.raises(LookupError):  # noqa: PT012 - it is the context's end that is tested
        async with serving(application(), Listen(port=0)) as server:
            port = server.port
            raise LookupError
    socket.create_server(("127.0.0.1", port)).close()


async def test_what_is_being_answered_is_finished() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> PlainTextResponse:
        asked.set()
        await answer.wait()
        return PlainTextResponse("at last")

    async with httpx.AsyncClient() as http:
        async with serving(Starlette(routes=[Route("/", slow)]), Listen(port=0)) as server:
            pending = asyncio.create_task(http.get(f"http://127.0.0.1:{server.port}/"))
            await asked.wait()
            asyncio.get_running_loop().call_later(0.2, answer.set)
        assert (await pending).text == "at last"


async def test_it_speaks_tls_with_its_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, private_key = tmp_path / "server.pem", tmp_path / "server.key"
    authority.certify(certificate, private_key)
    listen = Listen(port=0, certificate=certificate, private_key=private_key)
    context = ssl.create_default_context(cafile=authority.ca)
    async with (
        serving(application(), listen) as server,
        httpx.AsyncClient(verify=context) as http,
    ):
        answer = await http.get(f"https://localhost:{server.port}/healthz")
        assert answer.status_code == 200


async def test_a_port_that_is_taken_and_a_certificate_that_is_none_are_errors(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at_a_taken_port = serving(application(), Listen(port=taken.getsockname()[1]))
        with pytest.raises(ConfigError, match="cannot listen"):
            await at_a_taken_port.__aenter__()
    without = serving(application(), Listen(port=0, certificate=tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match="certificate"):
        await without.__aenter__()

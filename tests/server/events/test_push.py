# SPDX-License-Identifier: Apache-2.0
"""One push, against a real HTTP server that misbehaves: it is bounded, and goes nowhere else."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from keyfob.server.events.answer import Verdict
from keyfob.server.events.push import Push
from tests.guard.world import http_server
from tests.server.certificates import Authority

pytestmark = pytest.mark.anyio


async def test_a_push_is_a_post_of_the_token_with_its_type_and_secret() -> None:
    async with http_server() as http:
        http.answer("/events", b"", status=202)
        push = Push(f"{http.url}/events", credential="s3cret", connections=1)
        assert (await push.send("a.b.c")).verdict is Verdict.DELIVERED
        await push.aclose()
        assert http.bodies == [b"a.b.c"]
        (headers,) = http.headers
        assert headers["content-type"] == "application/secevent+jwt"
        assert headers["authorization"] == "Bearer s3cret"
        assert headers["accept"] == "application/json"


@pytest.mark.parametrize(("status", "body"), [(202, b""), (202, b"taken"), (503, b"later"),
                                              (400, b'{"err": "invalid_request"}')])  # fmt: skip
async def test_pushes_go_over_the_connection_that_is_there(status: int, body: bytes) -> None:
    async with http_server() as http:
        http.answer("/events", body, status=status)
        push = Push(f"{http.url}/events", connections=1)
        for _ in range(3):
            await push.send("a.b.c")
        await push.aclose()
        assert len(http.bodies) == 3
        assert http.connections == 1


@pytest.mark.parametrize("sends", [b"", b"x", b"x" * 500_000])
async def test_an_acknowledgement_stands_whatever_comes_behind_it(sends: bytes) -> None:
    """Its body is endless, drips, or never comes: the event was taken all the same."""
    dripping = asyncio.Event()

    async def endless(writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(b"HTTP/1.1 202 X\r\nContent-Length: 10000000000\r\n\r\n" + sends)
        await dripping.wait()

    async with http_server() as http:
        http.routes["/events"] = endless
        push = Push(f"{http.url}/events", connections=1, deadline=2.0)
        for _ in range(2):
            assert (await push.send("a.b.c")).verdict is Verdict.DELIVERED
        await push.aclose()


async def test_a_redirect_is_not_followed_and_no_cookie_comes_back() -> None:
    async with http_server() as http:
        http.answer("/events", b"", status=307,
                    headers=f"Location: {http.url}/other\r\nSet-Cookie: a=b\r\n")  # fmt: skip
        http.answer("/other", b"", status=202)
        push = Push(f"{http.url}/events", connections=1)
        for _ in range(2):
            assert (await push.send("a.b.c")).reason == "status_307"
        await push.aclose()
        assert http.requests == ["/events", "/events"]
        assert "cookie" not in http.headers[1]


async def test_an_answer_that_never_comes_meets_the_deadline() -> None:
    async with http_server() as http:
        http.answer("/events", b"", status=202, after=asyncio.Event())
        push = Push(f"{http.url}/events", connections=1, deadline=0.05)
        assert (await push.send("a.b.c")).reason == "timeout"
        await push.aclose()


async def test_of_an_endless_refusal_only_the_beginning_is_read() -> None:
    async with http_server() as http:
        http.answer("/events", b" " * 50_000_000, status=400)
        push = Push(f"{http.url}/events", connections=1)
        assert (await push.send("a.b.c")).reason == "status_400"
        await push.aclose()


async def test_nobody_there_is_a_failure_and_no_error() -> None:
    async with http_server() as http:
        url = http.url
    push = Push(f"{url}/events", connections=1)
    assert (await push.send("a.b.c")).reason == "unreachable"
    await push.aclose()


async def test_the_certificate_is_checked_against_the_ca_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    ours, theirs = Authority(tmp_path), Authority(tmp_path / "other")
    ours.certify(tmp_path / "s.pem", tmp_path / "s.key")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "s.pem", tmp_path / "s.key")
    async with http_server(tls) as http:
        http.answer("/events", b"", status=202)
        reasons = []
        for ca in (ours.ca.read_text(), theirs.ca.read_text(), None):
            push = Push(f"{http.url}/events", connections=1, ca=ca)
            answer = await push.send("a.b.c")
            reasons.append(answer.reason)
            await push.aclose()
        assert reasons == ["", "unreachable", "unreachable"]
        assert len(http.bodies) == 1

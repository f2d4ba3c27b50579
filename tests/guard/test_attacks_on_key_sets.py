# SPDX-License-Identifier: Apache-2.0
"""J20: whatever an issuer's key set server does, a CONNECT is answered in bounded time and work.

Each test has a real HTTP server on the loopback address, a guard that asks it, and a CONNECT.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from keyfob.authorization.decision import DenyReason
from keyfob.guard.fetching import MAX_BODY
from keyfob.guard.guard import Guard
from keyfob.guard.key_sources import COOLDOWN, HttpKeySource
from keyfob.mqtt.reason_codes import ReasonCode
from keyfob.tokens.keys import MAX_JWKS_BYTES
from tests.guard.world import (
    ISSUER,
    KEY,
    OTHER_KEY,
    Clock,
    HttpServer,
    guard,
    http_server,
    jwks,
    mint,
    request,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def source(http: HttpServer, clock: Clock) -> AsyncIterator[HttpKeySource]:
    keys = HttpKeySource(ISSUER, jwks_uri=f"{http.url}/jwks", monotonic=clock)
    yield keys
    await keys.aclose()


async def refused(keeper: Guard, deadline: float = 30, token: str | None = None) -> DenyReason:
    decision = await keeper.connect(request(token=token), deadline=deadline)
    assert not decision.allowed
    assert decision.reason is not None
    return decision.reason


async def _unavailable(http: HttpServer, clock: Clock, source: HttpKeySource, why: str) -> None:
    """The client hears "unavailable", the operator why; a good answer later mends it."""
    keeper = guard(keys=source)
    assert await refused(keeper) is DenyReason.KEYS_UNAVAILABLE
    assert DenyReason.KEYS_UNAVAILABLE.reason_code is ReasonCode.SERVER_UNAVAILABLE
    assert why in source.health().failure
    http.answer("/jwks", jwks(KEY))
    clock.now += COOLDOWN
    assert (await keeper.connect(request(), deadline=30)).allowed


@pytest.mark.attack("J20", "keys_unavailable")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_server_is_not_followed(
    http: HttpServer, clock: Clock, source: HttpKeySource, status: int
) -> None:
    """To plain http on this machine, where the attacker's keys are: nobody connects there."""
    async with http_server() as inside:
        inside.answer("/jwks", jwks(OTHER_KEY))
        http.answer("/jwks", b"", status=status, headers=f"Location: {inside.url}/jwks\r\n")
        await _unavailable(http, clock, source, "redirects are not followed")
        assert inside.requests == []


@pytest.mark.attack("J20", "keys_unavailable")
@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_of_ten_megabytes_is_not_read(
    http: HttpServer, clock: Clock, source: HttpKeySource, declared: bool
) -> None:
    body = b'{"keys":[' + b" " * 10_000_000 + jwks(KEY)[9:]
    head = b"Content-Length: %d\r\n" % len(body) if declared else b"Connection: close\r\n"

    async def flood(writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(b"HTTP/1.1 200 X\r\n" + head + b"\r\n" + body)
        if not declared:
            await writer.drain()
            writer.close()

    http.routes["/jwks"] = flood
    await _unavailable(http, clock, source, f"more than {MAX_BODY} bytes")


@pytest.mark.attack("J20", "keys_unavailable")
async def test_a_body_that_fits_but_is_no_key_sets_size_is_not_parsed(
    http: HttpServer, clock: Clock, source: HttpKeySource
) -> None:
    http.answer("/jwks", b'{"keys":[' + b" " * MAX_JWKS_BYTES + jwks(KEY)[9:])
    await _unavailable(http, clock, source, "too large")


@pytest.mark.attack("J20", "keys_unavailable")
async def test_a_body_that_never_ends_keeps_nobody_waiting_beyond_the_deadline(
    http: HttpServer, clock: Clock, source: HttpKeySource
) -> None:
    let_go = asyncio.Event()

    async def drip(writer: asyncio.StreamWriter, _: str) -> None:
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 6000\r\n\r\n")
        while not let_go.is_set():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.001)

    http.routes["/jwks"] = drip
    keeper = guard(keys=source)
    # The fetch is under way the whole time: what ends is the waiting.
    for _ in range(3):
        assert await refused(keeper, deadline=0.01) is DenyReason.KEYS_UNAVAILABLE
    assert http.count("/jwks") == 1
    let_go.set()


@pytest.mark.attack("J20", "keys_unavailable")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>not found</html>",
        b"[]",
        b"null",
        b'{"keys":{}}',
        b'{"keys":[],"keys":[]}',
        b"\xff\xfe{\0}\0",
        b"[" * 100_000,
        b'{"keys":' + b"9" * 100_000 + b"}",
    ],
)
async def test_what_is_no_key_set_changes_nothing(
    http: HttpServer, clock: Clock, source: HttpKeySource, body: bytes
) -> None:
    http.answer("/jwks", body)
    await _unavailable(http, clock, source, "key set")


@pytest.mark.attack("J20", "key_refused", "key_unknown")
async def test_secrets_and_private_keys_in_a_public_set_are_used_for_nothing(
    http: HttpServer, clock: Clock, source: HttpKeySource
) -> None:
    private = {**KEY.public_jwk(), "d": "AA"}
    secret = {"kty": "oct", "kid": "s", "k": "c2VjcmV0", "alg": "HS256"}
    http.answer("/jwks", json.dumps({"keys": [private, secret]}))
    keeper = guard(keys=source)
    assert await refused(keeper) is DenyReason.KEY_REFUSED
    clock.now += COOLDOWN
    assert await refused(keeper, token=mint(key=OTHER_KEY)) is DenyReason.KEY_UNKNOWN


@pytest.mark.attack("J20", "key_unknown")
async def test_a_storm_of_unknown_kids_causes_one_fetch_per_cooldown(
    http: HttpServer, clock: Clock, source: HttpKeySource
) -> None:
    """All at once and one after the other; who has a good key is let in all the while."""
    http.answer("/jwks", jwks(KEY))
    keeper = guard(keys=source)
    strangers = [mint(key=OTHER_KEY, jti=f"j{number}") for number in range(100)]
    for storm in range(1, 4):
        answers = await asyncio.gather(*(refused(keeper, token=token) for token in strangers))
        assert set(answers) == {DenyReason.KEY_UNKNOWN}
        for token in strangers:
            assert await refused(keeper, token=token) is DenyReason.KEY_UNKNOWN
        assert (await keeper.connect(request(), deadline=30)).allowed
        assert http.count("/jwks") == storm
        clock.now += COOLDOWN


@pytest.mark.attack("J20", "keys_unavailable", "key_unknown")
async def test_a_key_that_comes_back_broken_is_gone_and_one_fetch_tells(
    http: HttpServer, clock: Clock, source: HttpKeySource
) -> None:
    """While the server fails the last good keys stay; what they do not know is unavailable."""
    http.answer("/jwks", jwks(KEY))
    keeper = guard(keys=source)
    assert (await keeper.connect(request(), deadline=30)).allowed
    http.answer("/jwks", b"<html>", status=200)
    clock.now += COOLDOWN
    stranger = mint(key=OTHER_KEY)
    assert await refused(keeper, token=stranger) is DenyReason.KEYS_UNAVAILABLE
    assert (await keeper.connect(request(), deadline=30)).allowed
    http.answer("/jwks", jwks(KEY))
    clock.now += COOLDOWN
    assert await refused(keeper, token=stranger) is DenyReason.KEY_UNKNOWN

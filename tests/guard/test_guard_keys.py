# SPDX-License-Identifier: Apache-2.0
"""Keys that come late, change, or stay away."""

from __future__ import annotations

import asyncio

import pytest

from keyfob.authorization.decision import DenyReason
from keyfob.guard.key_sources import COOLDOWN
from keyfob.mqtt.reason_codes import ReasonCode
from tests.guard.world import (
    KEY,
    OTHER_KEY,
    Clock,
    HttpServer,
    guard,
    jwks,
    keys_at,
    mint,
    request,
)

pytestmark = pytest.mark.anyio


async def test_without_keys_a_client_is_refused_as_unavailable_and_keys_are_fetched(
    http: HttpServer, clock: Clock
) -> None:
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    keeper = guard(keys=keys)
    decision = keeper.decide(request())
    assert decision.reason is DenyReason.KEYS_UNAVAILABLE
    assert decision.reason_code is ReasonCode.SERVER_UNAVAILABLE
    await keys.first_keys()
    assert keeper.decide(request()).allowed
    await keys.aclose()


async def test_connect_waits_for_keys(http: HttpServer, clock: Clock) -> None:
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    decision = await guard(keys=keys).connect(request(), deadline=30)
    assert decision.allowed
    await keys.aclose()


async def test_connect_waits_no_longer_than_its_deadline(http: HttpServer, clock: Clock) -> None:
    let_go = asyncio.Event()

    async def stuck(_: asyncio.StreamWriter, __: str) -> None:
        await let_go.wait()

    http.routes["/jwks"] = stuck
    keys = keys_at(http, clock)
    decision = await guard(keys=keys).connect(request(), deadline=0.01)
    assert decision.reason is DenyReason.KEYS_UNAVAILABLE
    let_go.set()
    await keys.aclose()


async def test_a_rotated_key_is_fetched_when_its_first_token_comes(
    http: HttpServer, clock: Clock
) -> None:
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    keeper = guard(keys=keys)
    assert (await keeper.connect(request(), deadline=30)).allowed
    http.answer("/jwks", jwks(KEY, OTHER_KEY))
    clock.now += COOLDOWN
    rotated = request("dev2", mint("dev2", key=OTHER_KEY))
    assert (await keeper.connect(rotated, deadline=30)).allowed
    await keys.aclose()


@pytest.mark.attack("J20", "key_unknown")
async def test_a_key_that_even_fresh_keys_do_not_hold_is_unknown(
    http: HttpServer, clock: Clock
) -> None:
    """And asking for it again and again does not reach the issuer."""
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    keeper = guard(keys=keys)
    stranger = request(token=mint(key=OTHER_KEY))
    for _ in range(20):
        decision = await keeper.connect(stranger, deadline=30)
        assert decision.reason is DenyReason.KEY_UNKNOWN
    assert http.count("/jwks") == 1
    await keys.aclose()


async def test_an_unknown_key_is_unavailable_while_the_issuer_is_down(
    http: HttpServer, clock: Clock
) -> None:
    """It may be a new one: that must not look like a bad token."""
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    keeper = guard(keys=keys)
    assert (await keeper.connect(request(), deadline=30)).allowed
    http.answer("/jwks", b"", status=503)
    clock.now += COOLDOWN
    rotated = request("dev2", mint("dev2", key=OTHER_KEY))
    for _ in range(2):
        decision = await keeper.connect(rotated, deadline=30)
        assert decision.reason is DenyReason.KEYS_UNAVAILABLE
    assert (await keeper.connect(request(), deadline=30)).allowed
    await keys.aclose()


async def test_a_withdrawn_key_lets_nobody_in_that_it_let_in_before(
    http: HttpServer, clock: Clock
) -> None:
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    keeper = guard(keys=keys)
    assert (await keeper.connect(request(), deadline=30)).allowed
    http.answer("/jwks", jwks(OTHER_KEY))
    clock.now += COOLDOWN
    flight = keys.ask_again(None)
    assert flight is not None
    await flight
    assert keeper.decide(request()).reason is DenyReason.KEY_UNKNOWN
    await keys.aclose()

# SPDX-License-Identifier: Apache-2.0
"""How long a broker is kept waiting for what is not at hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from keyfob.authorization.decision import ConnectRequest, Decision, DenyReason
from keyfob.guard.guard import Guard
from keyfob.guard.key_sources import COOLDOWN, HttpKeySource
from keyfob.guard.patience import Patience
from tests.guard.world import (
    ISSUER,
    KEY,
    OTHER_KEY,
    Clock,
    HttpServer,
    guard,
    jwks,
    keys_at,
    mint,
    request,
    until,
)

pytestmark = pytest.mark.anyio

STRANGER = "a key that nobody has"


async def asked(
    keeper: Guard, wanted: ConnectRequest, wait: float, *, stands_still: bool
) -> tuple[Decision, bool]:
    """Return the decision, and whether it had to be waited for."""
    answer = keeper.answer(wanted, broker="b1", wait=wait, stands_still=stands_still)
    if isinstance(answer, Awaitable):
        return await answer, True
    return answer, False


async def test_what_is_at_hand_is_answered_at_once() -> None:
    decision, waited = await asked(guard(), request(), 30, stands_still=True)
    assert decision.allowed
    assert not waited


async def test_keys_that_come_in_time_are_waited_for(http: HttpServer, clock: Clock) -> None:
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    decision, waited = await asked(guard(keys=keys), request(), 30, stands_still=True)
    assert decision.allowed
    assert waited
    await keys.aclose()


async def test_who_may_not_wait_is_unavailable_and_the_keys_are_fetched_for_the_next(
    http: HttpServer, clock: Clock
) -> None:
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    keeper = guard(keys=keys)
    decision, waited = await asked(keeper, request(), 0, stands_still=False)
    assert decision.reason is DenyReason.KEYS_UNAVAILABLE
    assert not waited
    await keys.first_keys()
    assert (await asked(keeper, request(), 0, stands_still=False))[0].allowed
    await keys.aclose()


async def test_a_broker_that_stands_still_waits_in_vain_only_once(
    http: HttpServer, clock: Clock
) -> None:
    let_go = asyncio.Event()

    http.answer("/jwks", jwks(KEY), after=let_go)
    keys = keys_at(http, clock)
    keeper = guard(keys=keys)
    waits = [(await asked(keeper, request(), 0.01, stands_still=True))[1] for _ in range(5)]
    assert waits == [True, False, False, False, False]
    # Whoever serves others meanwhile may wait as often as it likes.
    assert (await asked(keeper, request(), 0.01, stands_still=False))[1]
    let_go.set()
    await keys.first_keys()
    await keys.aclose()


def test_an_issuer_that_is_fast_again_is_waited_for_again() -> None:
    patience = Patience()
    assert patience.may_wait(0.02)
    patience.waited_in_vain()
    assert not patience.may_wait(0.02)
    patience.answered_in(0.5)
    assert not patience.may_wait(0.02)
    assert patience.may_wait(5.0)
    patience.answered_in(0.01)
    assert patience.may_wait(0.02)


async def test_a_rotated_key_is_never_a_bad_token_before_its_issuer_was_asked(
    http: HttpServer, clock: Clock
) -> None:
    """Also while the cooldown forbids to ask: a fleet must not throw good tokens away."""
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    keeper = guard(keys=keys)
    assert (await asked(keeper, request(), 30, stands_still=False))[0].allowed
    http.answer("/jwks", jwks(KEY, OTHER_KEY))
    rotated = request("dev2", mint("dev2", key=OTHER_KEY))
    decision, _ = await asked(keeper, rotated, 30, stands_still=True)
    assert decision.reason is DenyReason.KEYS_UNAVAILABLE
    clock.now += COOLDOWN
    decision, _ = await asked(keeper, rotated, 30, stands_still=False)
    assert decision.allowed
    await until(lambda: http.count("/jwks") == 2)
    await keys.aclose()


async def test_who_serves_others_meanwhile_may_wait_for_the_end_of_the_cooldown(
    http: HttpServer,
) -> None:
    """So that a rotated key costs its devices a moment, even right after another question."""
    http.answer("/jwks", jwks(KEY))
    keys = HttpKeySource(ISSUER, jwks_uri=f"{http.url}/jwks", cooldown=0.2)
    keeper = guard(keys=keys)
    assert (await asked(keeper, request(), 30, stands_still=False))[0].allowed
    http.answer("/jwks", jwks(KEY, OTHER_KEY))
    rotated = request("dev2", mint("dev2", key=OTHER_KEY))
    decision, _ = await asked(keeper, rotated, 30, stands_still=True)
    assert decision.reason is DenyReason.KEYS_UNAVAILABLE
    answers = await asyncio.gather(
        *(asked(keeper, rotated, 30, stands_still=False) for _ in range(20))
    )
    assert all(decision.allowed for decision, _ in answers)
    assert http.count("/jwks") == 2
    await keys.aclose()


async def test_what_was_wanted_in_the_cooldown_is_fetched_at_its_end_also_if_nobody_waits(
    http: HttpServer,
) -> None:
    http.answer("/jwks", jwks(KEY))
    keys = HttpKeySource(ISSUER, jwks_uri=f"{http.url}/jwks", cooldown=0.05)
    keeper = guard(keys=keys)
    assert (await asked(keeper, request(), 30, stands_still=False))[0].allowed
    http.answer("/jwks", jwks(KEY, OTHER_KEY))
    rotated = request("dev2", mint("dev2", key=OTHER_KEY))
    assert not (await asked(keeper, rotated, 0, stands_still=True))[0].allowed
    await until(lambda: keeper.decide(rotated).allowed)
    await keys.aclose()

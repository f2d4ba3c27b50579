# SPDX-License-Identifier: Apache-2.0
"""Keys stay fresh, survive their issuer's absence, and cannot be fetched faster by a stranger."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from keyfob.errors import ConfigError
from keyfob.guard.backoff import Backoff
from keyfob.guard.key_sources import (
    COOLDOWN,
    MIN_FRESH,
    FileKeySource,
    HttpKeySource,
    KeySource,
    StaticKeySource,
)
from keyfob.guard.refreshing_keys import DEFAULT_FRESH
from tests.guard.world import KEY, OTHER_KEY, Clock, HttpServer, jwks, key_set, until

pytestmark = pytest.mark.anyio


def kids(source: KeySource) -> set[str | None]:
    return {key.kid for key in source.keys.keys} if source.keys else set()


def nobody(_: str) -> None: ...


@contextlib.asynccontextmanager
async def running(source: KeySource, changes: list[str] | None = None) -> AsyncIterator[None]:
    task = asyncio.create_task(source.run(nobody if changes is None else changes.append))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await source.aclose()


def at(http: HttpServer, clock: Clock, backoff: Backoff | None = None) -> HttpKeySource:
    return HttpKeySource(http.url, jwks_uri=f"{http.url}/jwks", monotonic=clock, backoff=backoff)


async def asked(source: KeySource) -> None:
    flight = source.ask_again(None)
    assert flight is not None
    await flight


async def test_keys_are_found_by_discovery(http: HttpServer, clock: Clock) -> None:
    document = json.dumps({"issuer": http.url, "jwks_uri": f"{http.url}/keys"})
    http.answer("/.well-known/oauth-authorization-server", document)
    http.answer("/keys", jwks(KEY))
    source = HttpKeySource(http.url, monotonic=clock)
    async with running(source):
        await source.first_keys()
        assert kids(source) == {KEY.kid}


async def test_keys_arrive_over_tls_of_the_given_ca(https: HttpServer, certificates: Path) -> None:
    https.answer("/jwks", jwks(KEY))
    source = HttpKeySource(https.url, jwks_uri=f"{https.url}/jwks", ca=certificates / "ca.pem")
    async with running(source):
        await source.first_keys()
        assert kids(source) == {KEY.kid}


@pytest.mark.attack("J20")
async def test_unknown_keys_cause_one_fetch_per_cooldown(http: HttpServer, clock: Clock) -> None:
    """J20: however many tokens name keys that nobody has."""
    http.answer("/jwks", jwks(KEY))
    source = at(http, clock)
    await asked(source)
    for _ in range(100):
        assert source.ask_again(None) is None
    clock.now += COOLDOWN - 0.1
    assert source.ask_again(None) is None
    clock.now += 0.1
    await asked(source)
    assert http.count("/jwks") == 2
    await source.aclose()


async def test_concurrent_questions_share_one_fetch(http: HttpServer, clock: Clock) -> None:
    http.answer("/jwks", jwks(KEY))
    source = at(http, clock)
    flights = {source.ask_again(None) for _ in range(50)}
    assert len(flights) == 1
    await asyncio.gather(*(flight for flight in flights if flight is not None))
    assert http.count("/jwks") == 1
    await source.aclose()


async def test_a_fetch_outlives_whoever_waited_for_it(http: HttpServer, clock: Clock) -> None:
    let_go = asyncio.Event()

    http.answer("/jwks", jwks(KEY), after=let_go)
    source = at(http, clock)
    flight = source.ask_again(None)
    assert flight is not None
    await asyncio.wait({flight}, timeout=0.01)
    assert source.ask_again(None) is flight
    assert not source.lacks(None)
    let_go.set()
    await flight
    assert kids(source) == {KEY.kid}
    await source.aclose()


@pytest.mark.attack("J20")
async def test_the_last_good_keys_stay_while_the_issuer_is_down(
    http: HttpServer, clock: Clock
) -> None:
    http.answer("/jwks", jwks(KEY))
    source = at(http, clock)
    await asked(source)
    before = source.keys
    for broken, status in ((b"", 503), (b"<html>", 200), (b"[]", 200), (b"{}", 200)):
        http.answer("/jwks", broken, status=status)
        clock.now += COOLDOWN
        await asked(source)
        assert source.keys is before
        assert not source.lacks("new")
        assert source.health().failure
    assert source.health().age == 4 * COOLDOWN
    await source.aclose()


async def test_a_key_that_the_issuer_withdraws_is_gone(http: HttpServer, clock: Clock) -> None:
    http.answer("/jwks", jwks(KEY, OTHER_KEY))
    source = at(http, clock)
    await asked(source)
    http.answer("/jwks", jwks(OTHER_KEY))
    clock.now += COOLDOWN
    await asked(source)
    assert kids(source) == {OTHER_KEY.kid}
    http.answer("/jwks", jwks())
    clock.now += COOLDOWN
    await asked(source)
    assert kids(source) == set()
    assert source.lacks(KEY.kid)
    assert source.lacks(OTHER_KEY.kid)
    await source.aclose()


async def test_the_same_document_is_the_same_key_set(http: HttpServer, clock: Clock) -> None:
    """So that what was verified with it stays verified."""
    http.answer("/jwks", jwks(KEY))
    source = at(http, clock)
    await asked(source)
    before = source.keys
    clock.now += COOLDOWN
    await asked(source)
    assert source.keys is before
    await source.aclose()


async def test_a_key_is_lacking_only_once_an_answer_to_a_later_question_lacks_it(
    http: HttpServer, clock: Clock
) -> None:
    """A key that nobody asked for yet may be a new one, however fresh the set at hand is."""
    http.answer("/jwks", jwks(KEY))
    source = at(http, clock)
    await asked(source)
    assert source.ask_again("new") is None  # the cooldown forbids it
    assert not source.lacks("new")
    clock.now += COOLDOWN
    flight = source.ask_again("newer")
    assert flight is not None
    await asyncio.sleep(0)  # the question is on its way
    assert source.ask_again("newest") is flight
    assert not source.lacks("new")
    await flight
    assert [source.lacks(kid) for kid in ("new", "newer", "newest")] == [True, True, False]
    http.answer("/jwks", jwks(KEY, OTHER_KEY))
    clock.now += COOLDOWN
    source.ask_again(OTHER_KEY.kid)
    await asked(source)
    assert not source.lacks(OTHER_KEY.kid)
    assert source.lacks("newest")
    await source.aclose()


async def test_a_key_is_lacking_no_longer_than_a_cooldown(http: HttpServer, clock: Clock) -> None:
    """Whoever asks for next year's key today must not have its tokens refused as bad."""
    http.answer("/jwks", jwks(KEY))
    source = at(http, clock)
    flight = source.ask_again(OTHER_KEY.kid)
    assert flight is not None
    await flight
    assert source.lacks(OTHER_KEY.kid)
    clock.now += COOLDOWN + 1
    await asked(source)  # for another; a cooldown begins
    http.answer("/jwks", jwks(KEY, OTHER_KEY))
    assert source.ask_again(OTHER_KEY.kid) is None
    assert not source.lacks(OTHER_KEY.kid)
    await source.aclose()


async def test_failure_and_recovery_are_told_once_each(http: HttpServer, clock: Clock) -> None:
    changes: list[str] = []
    source = at(http, clock, Backoff(base=1.0, cap=1.0, jitter=lambda _: 0.001))
    async with running(source, changes):
        await until(lambda: http.count("/jwks") >= 3)
        http.answer("/jwks", jwks(KEY))
        await source.first_keys()
    assert len(changes) == 2
    assert "answered 404" in changes[0]
    assert changes[1] == ""
    assert source.health().failure == ""


@pytest.mark.parametrize(
    ("header", "refresh", "expected"),
    [
        ("", DEFAULT_FRESH, DEFAULT_FRESH),
        ("", 7200.0, 7200.0),
        ("Cache-Control: max-age=600\r\n", DEFAULT_FRESH, 600.0),
        ("Cache-Control: max-age=1\r\n", DEFAULT_FRESH, MIN_FRESH),
        ("Cache-Control: no-store\r\n", DEFAULT_FRESH, MIN_FRESH),
        ("Cache-Control: max-age=31536000\r\n", DEFAULT_FRESH, DEFAULT_FRESH),
        ("Cache-Control: max-age=31536000\r\n", 7200.0, 7200.0),
        ("Cache-Control: max-age=31536000\r\n", 5.0, 5.0),
        ("Cache-Control: no-store\r\n", 5.0, 5.0),
        ("", 5.0, 5.0),
    ],
)
async def test_keys_are_fresh_for_as_long_as_the_issuer_says_within_bounds(
    http: HttpServer, clock: Clock, header: str, refresh: float, expected: float
) -> None:
    http.answer("/jwks", jwks(KEY), headers=header)
    source = HttpKeySource(http.url, jwks_uri=f"{http.url}/jwks", refresh=refresh, monotonic=clock)
    await asked(source)
    assert source.health().fresh_for == expected
    await source.aclose()


async def test_health_tells_what_is_used_and_what_is_not(http: HttpServer, clock: Clock) -> None:
    secret = {"kty": "oct", "kid": "s", "k": "c2VjcmV0", "alg": "HS256"}
    document = {"keys": [KEY.public_jwk(), secret]}
    http.answer("/jwks", json.dumps(document))
    source = at(http, clock)
    assert (source.health().keys, source.health().age) == (0, None)
    await asked(source)
    clock.now += 5
    health = source.health()
    assert (health.keys, health.rejected, health.age, health.failure) == (1, 1, 5.0, "")
    await source.aclose()


async def test_an_address_that_may_not_be_fetched_is_refused_at_once() -> None:
    with pytest.raises(ConfigError):
        HttpKeySource("https://as.example", jwks_uri="http://as.example/jwks")


async def test_a_static_source_has_nobody_to_ask() -> None:
    source = StaticKeySource(key_set(KEY))
    await source.run(nobody)
    await source.first_keys()
    await source.aclose()
    assert kids(source) == {KEY.kid}
    assert source.lacks("any")
    assert source.health().keys == 1


async def test_a_key_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(KEY))
    source = FileKeySource(path, interval=0.001)
    async with running(source):
        assert kids(source) == {KEY.kid}
        path.write_bytes(jwks(OTHER_KEY))
        await until(lambda: kids(source) == {OTHER_KEY.kid})


async def test_a_broken_key_file_leaves_the_last_good_keys(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(jwks(KEY))
    source = FileKeySource(path, interval=0.001)
    async with running(source):
        path.unlink()
        await until(lambda: source.health().failure)
        path.write_bytes(b"x" * 2_000_000)
        await until(lambda: "more than" in source.health().failure)
        assert kids(source) == {KEY.kid}
        path.write_bytes(jwks(KEY))
        await until(lambda: not source.health().failure)


@pytest.mark.parametrize("content", [None, b"", b"not JSON", b"[]"])
async def test_a_key_file_must_be_good_at_the_start(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "jwks.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"jwks\.json"):
        FileKeySource(path)

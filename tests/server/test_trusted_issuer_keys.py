# SPDX-License-Identifier: Apache-2.0
"""Keys of trusted issuers: from a file and over HTTP, bounded, cached, never steered by a token."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from keyfob.errors import ConfigError, UpstreamError
from keyfob.server.trusted_issuers.keys import COOLDOWN, REFRESH, FetchedKeys, FileKeys
from keyfob.tokens.keys import MAX_JWKS_BYTES
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import jwks_of
from tests.server.world import Clock

pytestmark = pytest.mark.anyio
OLD, NEW = SigningKey.generate(), SigningKey.generate()


class Upstream:
    """What serves the keys: an answer at a time, and how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: Callable[[], httpx.Response] = lambda: httpx.Response(
            200, content=jwks_of(OLD)
        )

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        return self.answer()


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def keys(upstream: Upstream, clock: Clock) -> FetchedKeys:
    transport = httpx.MockTransport(upstream)
    return FetchedKeys("https://issuer.example/jwks", clock, transport=transport)


async def kids(keys: FetchedKeys | FileKeys, *, again: bool = False) -> list[str | None]:
    return [key.kid for key in (await keys.current(again=again)).keys]


async def test_keys_are_fetched_once_and_again_when_they_are_old(
    keys: FetchedKeys, upstream: Upstream, clock: Clock
) -> None:
    for _ in range(3):
        assert await kids(keys) == [OLD.kid]
    assert upstream.asked == ["https://issuer.example/jwks"]
    upstream.answer = lambda: httpx.Response(200, content=jwks_of(NEW))
    clock.now += REFRESH
    assert await kids(keys) == [NEW.kid]
    assert len(upstream.asked) == 2


async def test_unknown_keys_cause_one_fetch_in_a_cooldown_however_many_ask(
    keys: FetchedKeys, upstream: Upstream, clock: Clock
) -> None:
    await kids(keys)
    clock.now += COOLDOWN
    upstream.answer = lambda: httpx.Response(200, content=jwks_of(OLD, NEW))
    found = await asyncio.gather(*(kids(keys, again=True) for _ in range(20)))
    assert found == [[OLD.kid, NEW.kid]] * 20
    assert len(upstream.asked) == 2


async def test_who_asks_while_keys_are_fetched_waits_for_them(
    upstream: Upstream, clock: Clock
) -> None:
    async def slow(request: httpx.Request) -> httpx.Response:
        answer = upstream(request)
        asked.set()
        await answered.wait()
        return answer

    keys = FetchedKeys("https://issuer.example/jwks", clock, transport=httpx.MockTransport(slow))
    for answer, again in ((jwks_of(OLD), False), (jwks_of(OLD, NEW), True)):
        asked, answered = asyncio.Event(), asyncio.Event()
        upstream.answer = lambda answer=answer: httpx.Response(200, content=answer)  # type: ignore[misc]
        asking = [asyncio.create_task(kids(keys, again=again))]
        await asked.wait()
        clock.now += 1
        asking += [asyncio.create_task(kids(keys, again=again)) for _ in range(3)]
        await asyncio.sleep(0)
        answered.set()
        found = await asyncio.gather(*asking)
        assert found == [[OLD.kid, NEW.kid] if again else [OLD.kid]] * 4
        clock.now += COOLDOWN
    assert len(upstream.asked) == 2


async def test_the_last_good_keys_stay_while_an_issuer_is_unwell(
    keys: FetchedKeys, upstream: Upstream, clock: Clock
) -> None:
    await kids(keys)

    def hangs_up() -> httpx.Response:
        raise httpx.ConnectError("no")

    answers: list[Callable[[], httpx.Response]] = [
        lambda: httpx.Response(500),
        lambda: httpx.Response(302, headers={"Location": "https://evil.example/"}),
        lambda: httpx.Response(200, content=b"{}"),
        lambda: httpx.Response(200, content=b'{"keys":[]}'),
        lambda: httpx.Response(200, content=jwks_of(NEW) + b" " * MAX_JWKS_BYTES),
        lambda: httpx.Response(
            200, content=gzip.compress(jwks_of(NEW)), headers={"Content-Encoding": "gzip"}
        ),
        hangs_up,
    ]
    for answer in answers:
        upstream.answer = answer
        clock.now += REFRESH
        assert await kids(keys) == [OLD.kid]
    assert set(upstream.asked) == {"https://issuer.example/jwks"}


async def test_without_any_keys_nothing_is_judged_and_the_issuer_is_left_alone(
    keys: FetchedKeys, upstream: Upstream
) -> None:
    upstream.answer = lambda: httpx.Response(503)
    for _ in range(3):
        with pytest.raises(UpstreamError):
            await keys.current()
    assert len(upstream.asked) == 1


async def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(jwks_of(OLD))
    keys = FileKeys(path)
    assert await kids(keys) == [OLD.kid]
    other = tmp_path / "new.json"
    other.write_bytes(jwks_of(NEW))
    other.replace(path)
    assert await kids(keys) == [NEW.kid]
    for bad in (b"{", b'{"keys":[]}'):
        path.write_bytes(bad)
        assert await kids(keys) == [NEW.kid]
    path.unlink()
    assert await kids(keys) == [NEW.kid]


def test_a_file_without_keys_is_refused_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    for content in (None, b"", b'{"keys":[]}'):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError):
            FileKeys(path)

# SPDX-License-Identifier: Apache-2.0
"""A key that is published one refresh interval before its use is at hand when it is used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from keyfob.guard import refreshing_keys
from keyfob.guard.key_sources import HttpKeySource
from tests.guard.world import KEY, Clock, HttpServer, jwks

pytestmark = pytest.mark.anyio

REFRESH = 60


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[float]:
    """The seconds that the source rests between two questions, in place of its resting."""
    asked: asyncio.Queue[float] = asyncio.Queue()

    async def rest(seconds: float) -> None:
        asked.put_nowait(seconds)
        await asyncio.Event().wait()

    class Patched:
        sleep = staticmethod(rest)

        def __getattr__(self, name: str) -> object:
            return getattr(asyncio, name)

    monkeypatch.setattr(refreshing_keys, "asyncio", Patched())
    return asked


def slow(http: HttpServer, clock: Clock, seconds: float) -> None:
    """Let every answer take that long: what it says is as old as that when it arrives."""
    http.answer("/jwks", jwks(KEY))
    at_once: Callable[..., object] = http.routes["/jwks"]

    async def handle(writer: asyncio.StreamWriter, target: str) -> None:
        clock.now += seconds
        await at_once(writer, target)  # type: ignore[misc]

    http.routes["/jwks"] = handle


@pytest.mark.parametrize("takes", [0.0, 0.05, 1.0, 4.9])
async def test_the_next_answer_is_there_within_the_interval_however_long_answers_take(
    http: HttpServer, clock: Clock, rests: asyncio.Queue[float], takes: float
) -> None:
    """A key that is published when an answer has just been made comes with the next one."""
    slow(http, clock, takes)
    source = HttpKeySource(http.url, jwks_uri=f"{http.url}/jwks", refresh=REFRESH, monotonic=clock)
    task = asyncio.create_task(source.run(lambda _: None))
    try:
        rest = await asyncio.wait_for(rests.get(), 30)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await source.aclose()
    # Made, on its way, rested, asked and on its way again; and the fetch itself takes its moment.
    assert takes + rest + takes < REFRESH

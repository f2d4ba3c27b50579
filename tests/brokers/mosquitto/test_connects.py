# SPDX-License-Identifier: Apache-2.0
"""A guard that has to ask somebody before it decides, and a plugin that waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.decision import ConnectRequest, Decision
from keyfob.brokers.mosquitto import connects, frames
from keyfob.guard.guard import Guard
from keyfob.guard.session import EndCause
from tests.brokers.mosquitto.linking import House, Plugin, connect, house

pytestmark = pytest.mark.anyio

UNAVAILABLE = 0x88


class Asking(Guard):
    """Answers at once, but for clients called slow-…: those when the test says so."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.waits: list[float] = []
        self.standing: list[bool] = []
        self.open: list[asyncio.Future[None]] = []

    def answer(
        self, request: ConnectRequest, *, broker: str, wait: float, stands_still: bool
    ) -> Decision | Awaitable[Decision]:
        self.waits.append(wait)
        self.standing.append(stands_still)
        if not request.client_id.startswith("slow"):
            return self.decide(request, broker=broker)
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.open.append(asked)
        return self._later(asked, request, broker)

    async def _later(
        self, asked: asyncio.Future[None], request: ConnectRequest, broker: str
    ) -> Decision:
        await asked
        return self.decide(request, broker=broker)


def asking(here: House) -> Asking:
    assert isinstance(here.guard, Asking)
    return here.guard


async def slow(here: House, plugin: Plugin, *names: str, first: int = 1, **changes: Any) -> None:
    """Send CONNECTs, and wait until the guard has been asked about all of them."""
    before = len(asking(here).open)
    for epoch, name in enumerate(names, first):
        plugin.say(connect(name, epoch, **changes))
    await plugin.settled()
    assert len(asking(here).open) == before + len(names)


async def decision(plugin: Plugin) -> tuple[int, int]:
    frame = await plugin.hear()
    assert isinstance(frame, frames.Decision)
    return frame.epoch, frame.reason


async def test_who_is_decided_at_once_does_not_wait_for_who_is_not(tmp_path: Path) -> None:
    async with house(tmp_path, guard=Asking) as here:
        plugin, _ = await here.plugin()
        await slow(here, plugin, "slow-1", "slow-2", delayed=True, wait_ms=5000)
        await plugin.admit("dev1", 3)
        asking(here).open[1].set_result(None)
        assert await decision(plugin) == (2, 0)
        asking(here).open[0].set_result(None)
        assert await decision(plugin) == (1, 0)
        plugin.say(frames.Admitted(epoch=1, client_id="slow-1"))
        await plugin.settled()
        assert here.session("slow-1")


async def test_the_guard_is_told_how_long_it_may_take(tmp_path: Path) -> None:
    async with house(tmp_path, guard=Asking, blocking_wait=0.03) as here:
        plugin, _ = await here.plugin()
        for epoch, (delayed, wait_ms) in enumerate(
            [(False, 200), (False, 10), (True, 5000), (True, 2**32 - 1)], 1
        ):
            plugin.say(connect("dev1", epoch, delayed=delayed, wait_ms=wait_ms))
            await plugin.hear()
        # A broker that stops is kept waiting no longer than configured; nobody for more than a
        # minute; and a part of the plugin's patience is left for the way.
        assert asking(here).waits == pytest.approx([0.03, 0.008, 4.0, 48.0])
        assert asking(here).standing == [True, True, False, False]


async def test_a_guard_that_takes_too_long_is_given_up_on(tmp_path: Path) -> None:
    async with house(tmp_path, guard=Asking) as here:
        plugin, _ = await here.plugin()
        await slow(here, plugin, "slow-1", wait_ms=50)
        assert await decision(plugin) == (1, UNAVAILABLE)
        assert asking(here).open[0].cancelled()


async def test_a_client_that_is_in_takes_nobodys_question_away(tmp_path: Path) -> None:
    """It shows its next token while somebody waits to connect under its identifier."""
    async with house(tmp_path, guard=Asking) as here:
        plugin, _ = await here.plugin()
        await slow(here, plugin, "slow-1", delayed=True, wait_ms=5000)
        plugin.say(frames.Continue(epoch=9, client_id="slow-1", data=b"", wait_ms=200))
        assert await decision(plugin) == (9, UNAVAILABLE)
        asking(here).open[0].set_result(None)
        assert await decision(plugin) == (1, 0)


async def test_a_second_question_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """Whoever asked the first is gone, or the broker would not have asked again."""
    async with house(tmp_path, guard=Asking) as here:
        plugin, _ = await here.plugin()
        await slow(here, plugin, "slow-1", delayed=True, wait_ms=5000)
        await slow(here, plugin, "slow-1", first=2, delayed=True, wait_ms=5000)
        assert asking(here).open[0].cancelled()
        asking(here).open[1].set_result(None)
        assert await decision(plugin) == (2, 0)
        plugin.say(frames.Admitted(epoch=1, client_id="slow-1"))
        assert await plugin.hear() == frames.End(
            epoch=1, cause=EndCause.FORGOTTEN, client_id="slow-1"
        )


async def test_when_the_link_ends_nobody_is_waited_for(tmp_path: Path) -> None:
    async with house(tmp_path, guard=Asking) as here:
        plugin, _ = await here.plugin()
        await slow(here, plugin, "slow-1", "slow-2", delayed=True, wait_ms=5000)
        await plugin.leave()
        async with asyncio.timeout(10):
            await asyncio.wait(asking(here).open)
        assert all(asked.cancelled() for asked in asking(here).open)


async def test_when_the_guard_stops_nobody_is_waited_for(tmp_path: Path) -> None:
    async with house(tmp_path, guard=Asking) as here:
        plugin, _ = await here.plugin()
        await slow(here, plugin, "slow-1", delayed=True, wait_ms=60_000)
        await here.server.close()
        await plugin.closed()
        assert asking(here).open[0].cancelled()


async def test_beyond_the_bound_nobody_else_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connects, "MAX_PENDING", 2)
    async with house(tmp_path, guard=Asking) as here:
        plugin, _ = await here.plugin()
        await slow(here, plugin, "slow-1", "slow-2", delayed=True, wait_ms=5000)
        plugin.say(connect("slow-3", 3, delayed=True, wait_ms=5000))
        assert await decision(plugin) == (3, UNAVAILABLE)
        await plugin.admit("dev1", 4)  # who needs nobody to be asked is decided as ever


async def test_an_error_later_refuses_one_and_is_told_without_what_was_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house(tmp_path, guard=Asking) as here:
        plugin, _ = await here.plugin()
        await slow(here, plugin, "slow-1", delayed=True, wait_ms=5000)
        with caplog.at_level(logging.ERROR):
            asking(here).open[0].set_exception(RuntimeError("secret-token"))
            assert await decision(plugin) == (1, UNAVAILABLE)
        assert "RuntimeError" in caplog.text
        assert "secret-token" not in caplog.text
        await plugin.admit("dev1", 4)


async def test_who_was_revoked_while_the_guard_was_asking_is_ended(tmp_path: Path) -> None:
    async with house(tmp_path, guard=Asking) as here:
        plugin, _ = await here.plugin()
        await slow(here, plugin, "slow-1", delayed=True, wait_ms=5000)
        asking(here).open[0].set_result(None)
        assert await decision(plugin) == (1, 0)
        await here.revoke("slow-1")
        plugin.say(frames.Admitted(epoch=1, client_id="slow-1"))
        assert await plugin.hear() == frames.End(
            epoch=1, cause=EndCause.REVOKED, client_id="slow-1"
        )

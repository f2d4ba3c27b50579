# SPDX-License-Identifier: Apache-2.0
"""Plugin and guard, both real, with three workers: each client ends up with its owner."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from keyfob.brokers.mosquitto.link import LinkServer
from keyfob.guard.guard import Guard
from keyfob.guard.session import SessionState
from keyfob.guard.sessions import SessionStore
from keyfob.guard.shares import owner_of
from tests.brokers.mosquitto.linking import issuers, token
from tests.brokers.mosquitto.plugin.broker import NOT_AUTHORIZED, TAKEN, Broker, Device, Plugin
from tests.brokers.mosquitto.plugin.fake_guard import PATIENCE, until

WORKERS = 3
NAMES = [f"dev{i}" for i in range(12)]


def fresh(name: str) -> str:
    now = int(time.time())
    return token(name, iat=now - 10, exp=now + 600).decode()


class Workers:
    """Three workers of a guard, in a thread that has an event loop."""

    def __init__(self, path: Path) -> None:
        self.sessions = [SessionStore() for _ in range(WORKERS)]
        self._path = path
        self._listening = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _serve(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for worker, sessions in enumerate(self.sessions):
                guard = await stack.enter_async_context(Guard(issuers(), sessions=sessions))
                server = LinkServer(guard, self._path, worker=worker, workers=WORKERS)
                await stack.enter_async_context(server)
            self._listening.set()
            await self._stop.wait()

    def online(self) -> list[set[str]]:
        """Who has a live session, by worker."""
        return [
            {
                session.client_id
                for session in tuple(store.of_broker("mosquitto"))
                if session.state is SessionState.ONLINE
            }
            for store in self.sessions
        ]


@pytest.fixture
def workers(directory: Path) -> Iterator[Workers]:
    with Workers(directory / "guard.sock") as started:
        yield started


def test_each_client_is_decided_about_by_its_owner_and_kept_there(
    directory: Path, plugin: Plugin, workers: Workers, any_program: str
) -> None:
    path = directory / "guard.sock"
    with (
        Broker(directory, plugin, path, program=any_program) as broker,
        contextlib.ExitStack() as stack,
    ):
        for name in NAMES:
            device = Device(broker.port, name, token=fresh(name))
            stack.enter_context(device)
            assert device.publish(f"{name}/up") in TAKEN
        expected = [{n for n in NAMES if owner_of(n, WORKERS) == w} for w in range(WORKERS)]
        until(lambda: workers.online() == expected, "the sessions")
        stranger = Device(broker.port, "dev1-stranger", token=fresh("dev1"))
        assert stranger.connect() in {NOT_AUTHORIZED, 0x85}
        stranger.stop()
    until(lambda: workers.online() == [set(), set(), set()], "their ends")

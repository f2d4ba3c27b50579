# SPDX-License-Identifier: Apache-2.0
"""A real guard with a socket, in a thread: for tests whose clients have the main one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from keyfob.brokers.mosquitto.link import LinkServer
from keyfob.guard.database import Database
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.revocations import RevocationStore
from keyfob.guard.session import Session
from keyfob.guard.sessions import SessionStore
from tests.brokers.mosquitto.linking import issuers
from tests.brokers.mosquitto.plugin.fake_guard import PATIENCE

__all__ = ["OneWorker"]

T = TypeVar("T")


class OneWorker:
    """A guard; ``do`` runs something in its event loop.

    With a file it remembers what an earlier one knew.
    """

    def __init__(
        self,
        path: Path,
        bindings: Mapping[str, IssuerBinding] | None = None,
        *,
        file: Path | None = None,
    ) -> None:
        self._path = path
        self._file = file
        self._bindings = issuers() if bindings is None else bindings
        self._sessions = SessionStore()
        self._listening = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self.guard: Guard

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        self._loop.close()

    def do(self, what: Callable[[Guard], Awaitable[T]]) -> T:
        """Run something in the guard's event loop, and return what it returns."""

        async def run() -> T:
            return await what(self.guard)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE)

    def session(self, client_id: str) -> Session | None:
        """Return a client's session."""
        return self._sessions.get("mosquitto", client_id)

    async def _serve(self) -> None:
        options: dict[str, Any] = {"authentication_methods": ("OAUTH2-JWT",)}
        async with contextlib.AsyncExitStack() as stack:
            if self._file is not None:
                database = stack.enter_context(Database.open(self._file))
                self._sessions = SessionStore(database)
                options["revocations"] = RevocationStore(database)
            guard = Guard(self._bindings, sessions=self._sessions, **options)
            self.guard = await stack.enter_async_context(guard)
            await stack.enter_async_context(LinkServer(self.guard, self._path))
            self._listening.set()
            await self._stop.wait()

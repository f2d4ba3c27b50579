# SPDX-License-Identifier: Apache-2.0
"""The one thread in which the running server writes.

A read from SQLite takes microseconds and happens in the event loop. A write waits for its turn and
for the disk, so it happens here, on a connection of its own; whoever awaits ``run`` goes on after
the commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from keyfob.errors import ConfigError, UpstreamError
from keyfob.server.stores.sqlite import SqliteStore, open_store

__all__ = ["Writer"]

_T = TypeVar("_T")


class Writer:
    """A thread with its own connection; one transaction at a time.

    Args:
        path: The database; opened at the first write.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: SqliteStore | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="keyfob-writer")

    async def run(self, work: Callable[[SqliteStore], _T]) -> _T:
        """Do some work in a transaction and return its result once it is committed.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full; nothing was written.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._work, work)

    async def hand_over(self, work: Callable[[SqliteStore], _T]) -> _T:
        """Do some work that makes its own transactions, and return its result.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: work(self._opened())
        )

    def close(self) -> None:
        """Finish what was begun and close the connection."""
        self._thread.shutdown(wait=True)
        if self._store is not None:
            self._store.close()

    def _work(self, work: Callable[[SqliteStore], _T]) -> _T:
        store = self._opened()
        with store.transaction():
            return work(store)

    def _opened(self) -> SqliteStore:
        if self._store is None:
            try:
                self._store = open_store(self._path)
            except ConfigError as error:  # it could be opened when the server started
                raise UpstreamError(error.message) from error
        return self._store

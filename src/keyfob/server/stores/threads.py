# SPDX-License-Identifier: Apache-2.0
"""Threads that each have a connection of their own to the register."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from keyfob.errors import ConfigError, UpstreamError
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import Store, open_store

__all__ = ["StoreThreads"]

_T = TypeVar("_T")


class StoreThreads:
    """A pool of them.

    Args:
        place: The database, which has its schema already; opened by each thread's first work.
        threads: How many.
        name: What they are called.
    """

    def __init__(self, place: Place, threads: int, name: str) -> None:
        self._place = place
        self._own = threading.local()
        self._opened: list[Store] = []
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)

    async def run(self, work: Callable[[Store], _T]) -> _T:
        """Return what some work makes of a thread's own store."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._work, work)

    def close(self) -> None:
        """Finish what was begun and close the connections."""
        self._pool.shutdown(wait=True)
        for store in self._opened:
            store.close()

    def _work(self, work: Callable[[Store], _T]) -> _T:
        store: Store | None = getattr(self._own, "store", None)
        if store is None:
            try:
                store = self._own.store = open_store(self._place, migrate=False)
            except ConfigError as error:  # it could be opened when the server started
                raise UpstreamError(error.message) from error
            self._opened.append(store)
        return work(store)

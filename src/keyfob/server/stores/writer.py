# SPDX-License-Identifier: Apache-2.0
"""The threads in which the running server writes: one for SQLite, a few for PostgreSQL.

A write waits for its turn and for the disk, so it happens here, on a connection of the thread's
own; whoever awaits ``run`` goes on after the commit.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from keyfob.server.stores.connection import TryAgainError
from keyfob.server.stores.place import Place, PostgresqlUrl
from keyfob.server.stores.store import Store
from keyfob.server.stores.threads import StoreThreads

__all__ = ["Writer"]

_T = TypeVar("_T")
_THREADS: Final = 4
_TRIES: Final = 5
_FIRST_PAUSE: Final = 0.02


class Writer:
    """Threads with their own connections; one transaction at a time in each.

    Args:
        place: The database; opened at the first write.
        most: So many threads at most; SQLite has one.
    """

    def __init__(self, place: Place, *, most: int = _THREADS) -> None:
        threads = most if isinstance(place, PostgresqlUrl) else 1
        self._threads = StoreThreads(place, threads, "keyfob-writer")

    async def run(self, work: Callable[[Store], _T], *, beside: bytes | None = None) -> _T:
        """Do some work in a transaction and return its result once it is committed.

        Args:
            work: Reads and writes; it is done again where nothing of it was, and somebody else's
                transaction or a server that was restarted is why.
            beside: What alone it reads and writes, where that is so; see ``Store.transaction``.

        Raises:
            UpstreamError: The database stayed locked, is gone, or its disk is full. Nothing was
                written, unless the database went while it committed: then nobody knows.
        """

        def in_turn(store: Store) -> _T:
            for tried in range(1, _TRIES + 1):
                try:
                    with store.transaction(beside=beside):
                        return work(store)
                except TryAgainError:
                    if tried == _TRIES:
                        raise
                    time.sleep(random.uniform(0, _FIRST_PAUSE * 2**tried))  # noqa: S311
            raise AssertionError("the last try returns or raises")

        return await self._threads.run(in_turn)

    async def hand_over(self, work: Callable[[Store], _T]) -> _T:
        """Do some work that makes its own transactions, and return its result.

        It is done once: where a transaction of it has to be tried again, others may have counted.

        Raises:
            UpstreamError: The database stayed locked, is gone, or its disk is full.
        """
        return await self._threads.run(work)

    def close(self) -> None:
        """Finish what was begun and close the connections."""
        self._threads.close()

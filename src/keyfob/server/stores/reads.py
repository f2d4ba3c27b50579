# SPDX-License-Identifier: Apache-2.0
"""How the running server reads: SQLite in the event loop, PostgreSQL in a few threads.

A read from a SQLite file takes microseconds, less than a hop to a thread. A read over a network
would hold up every other request, so it is made in a thread that has a connection of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from keyfob.errors import UpstreamError
from keyfob.server.oauth_errors import unavailable
from keyfob.server.stores.connection import Parameters
from keyfob.server.stores.place import Place, PostgresqlUrl
from keyfob.server.stores.store import Store
from keyfob.server.stores.threads import StoreThreads

__all__ = ["InLoop", "InThreads", "Reads", "make_reads", "read_row"]

_T = TypeVar("_T")
_THREADS: Final = 4
# Every waiting reader of the revocations asks whether something changed, ten times a second.
_COUNTER_SECONDS: Final = 0.05


class Reads(Protocol):
    """Where reads are made."""

    async def run(self, work: Callable[[Store], _T]) -> _T:
        """Return what some work reads; it changes nothing, and may be done again.

        Raises:
            UpstreamError: The database does not answer.
        """

    async def change_counter(self) -> int:
        """Return a number that changes whenever another connection commits."""

    def close(self) -> None:
        """Close what was opened for it; not the store that it was given."""


class InLoop:
    """Reads in the event loop, which never suspend.

    Args:
        store: What is read from.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def run(self, work: Callable[[Store], _T]) -> _T:
        """Return what some work reads."""
        return work(self._store)

    async def change_counter(self) -> int:
        """Return a number that changes whenever another connection commits."""
        return self._store.change_counter()

    def close(self) -> None:
        """Leave the store to whoever opened it."""


class InThreads:
    """Reads in threads.

    Args:
        place: The database.
        threads: So many, each with a connection.
    """

    def __init__(self, place: Place, threads: int = _THREADS) -> None:
        self._threads = StoreThreads(place, threads, "keyfob-reader")
        self._counter: asyncio.Task[int] | None = None
        self._counted_at = 0.0

    async def run(self, work: Callable[[Store], _T]) -> _T:
        """Return what some work reads."""
        return await self._threads.run(work)

    async def change_counter(self) -> int:
        """Return the number, which all who ask at about the same time share.

        An older one does no harm: whoever reads after it, and compares later, sees a change that
        he has read already.
        """
        now = asyncio.get_running_loop().time()
        if self._counter is None or now - self._counted_at >= _COUNTER_SECONDS:
            self._counted_at = now
            self._counter = asyncio.create_task(self.run(Store.change_counter))
        return await asyncio.shield(self._counter)

    def close(self) -> None:
        """Finish what was begun and close the connections."""
        self._threads.close()


def make_reads(place: Place, store: Store) -> Reads:
    """Make what fits a database.

    Args:
        place: Which one.
        store: A connection to it, which the event loop has for itself.
    """
    return InThreads(place) if isinstance(place, PostgresqlUrl) else InLoop(store)


async def read_row(
    reads: Reads, statement: str, parameters: Parameters = ()
) -> tuple[Any, ...] | None:
    """Return the first row that a statement reads; None: there is none.

    Raises:
        OAuthError: ``temporarily_unavailable``: the register does not answer.
    """

    def work(store: Store) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = store.connection.execute(statement, parameters).fetchone()
        return row

    try:
        return await reads.run(work)
    except UpstreamError as error:
        raise unavailable() from error

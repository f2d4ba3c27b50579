# SPDX-License-Identifier: Apache-2.0
"""SQLite behind the asynchronous Protocols that the flows name.

The reads never suspend: 15 microseconds in the event loop are cheaper than a hop to a thread.
A store over a network would fit the same Protocols and would suspend.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from keyfob.server.clients import Client, ClientKind, StoredSecret
from keyfob.server.groups import GroupRights
from keyfob.server.stores.fleet import group_row
from keyfob.server.stores.old_secrets import end_old_secret
from keyfob.server.stores.sqlite import SqliteStore, StoredRevocation
from keyfob.server.stores.writer import Writer

__all__ = ["ServingStore"]


class ServingStore:
    """What the endpoints may ask the register while they serve.

    Args:
        store: What is read, in the event loop.
        writer: Where the little is written that an answer depends on.
        clock: Unix seconds.
    """

    def __init__(
        self, store: SqliteStore, writer: Writer, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._writer = writer
        self._clock = clock
        self._groups = GroupRights(lambda name: group_row(store, name), store.change_counter)

    async def find_secret(self, client_id: str) -> StoredSecret | None:
        """Return what a client has to prove."""
        return self._store.secret(client_id, now=self._clock())

    async def end_old_secret(self, client_id: str, secret_hash: str) -> None:
        """Let the old secret of a client stop, if the new one is still this one."""
        await self._writer.run(lambda store: end_old_secret(store, client_id, secret_hash))

    async def find_client(self, client_id: str) -> Client | None:
        """Return a client by name, with the scopes and the lifetime that its groups give it."""
        client = self._store.client(client_id)
        return client if client is None or not client.groups else self._groups.applied(client)

    async def has_clients(self, kind: ClientKind) -> bool:
        """Say whether there is a client of a kind."""
        return self._store.has_clients(kind)

    async def revocations_after(
        self, cursor: int, *, now: float, limit: int
    ) -> tuple[StoredRevocation, ...]:
        """Return the revocations after a cursor that still matter, oldest first."""
        return self._store.revocations_after(cursor, now=now, limit=limit)

    async def last_cursor(self) -> int:
        """Return the newest cursor ever given out; 0 for none."""
        return self._store.last_cursor()

    async def change_counter(self) -> int:
        """Return a number that changes whenever another connection commits."""
        return self._store.change_counter()

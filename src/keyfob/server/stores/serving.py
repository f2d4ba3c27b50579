# SPDX-License-Identifier: Apache-2.0
"""SQLite behind the asynchronous Protocols that the flows name.

The reads never suspend: 15 microseconds in the event loop are cheaper than a hop to a thread.
A store over a network would fit the same Protocols and would suspend.
"""

from __future__ import annotations

from keyfob.server.clients import Client, ClientKind, StoredSecret
from keyfob.server.stores.sqlite import SqliteStore, StoredRevocation

__all__ = ["ServingStore"]


class ServingStore:
    """What the endpoints may ask the register while they serve."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def find_secret(self, client_id: str) -> StoredSecret | None:
        """Return what a client has to prove."""
        return self._store.secret(client_id)

    async def find_client(self, client_id: str) -> Client | None:
        """Return a client by name."""
        return self._store.client(client_id)

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

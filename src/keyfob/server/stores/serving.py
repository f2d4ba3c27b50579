# SPDX-License-Identifier: Apache-2.0
"""The register behind the asynchronous Protocols that the flows name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from keyfob.errors import UpstreamError
from keyfob.server.clients import Client, ClientKind, StoredSecret
from keyfob.server.groups import GroupRights
from keyfob.server.oauth_errors import unavailable
from keyfob.server.stores.fleet import group_row
from keyfob.server.stores.old_secrets import end_old_secret
from keyfob.server.stores.reads import Reads
from keyfob.server.stores.store import Store, StoredRevocation
from keyfob.server.stores.writer import Writer

__all__ = ["ServingStore"]

_T = TypeVar("_T")


class ServingStore:
    """What the endpoints may ask the register while they serve.

    Where it does not answer, each method raises ``temporarily_unavailable``.

    Args:
        reads: Where it is read.
        writer: Where the little is written that an answer depends on.
        clock: Unix seconds.
    """

    def __init__(
        self, reads: Reads, writer: Writer, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._reads = reads
        self._writer = writer
        self._clock = clock
        self._groups = threading.local()  # of the store that a thread reads from

    async def find_secret(self, client_id: str) -> StoredSecret | None:
        """Return what a client has to prove."""
        now = self._clock()
        return await self._read(lambda store: store.secret(client_id, now=now))

    async def end_old_secret(self, client_id: str, secret_hash: str) -> None:
        """Let the old secret of a client stop, if the new one is still this one."""
        await self._writer.run(lambda store: end_old_secret(store, client_id, secret_hash))

    async def find_client(self, client_id: str) -> Client | None:
        """Return a client by name, with the scopes and the lifetime that its groups give it."""
        return await self._read(lambda store: self._with_groups(store, client_id))

    async def has_clients(self, kind: ClientKind) -> bool:
        """Say whether there is a client of a kind."""
        return await self._read(lambda store: store.has_clients(kind))

    async def revocations_after(
        self, cursor: int, *, now: float, limit: int
    ) -> tuple[StoredRevocation, ...]:
        """Return the revocations after a cursor that still matter, oldest first."""
        return await self._read(lambda store: store.revocations_after(cursor, now=now, limit=limit))

    async def last_cursor(self) -> int:
        """Return the newest cursor ever given out; 0 for none."""
        return await self._read(lambda store: store.last_cursor())

    async def change_counter(self) -> int:
        """Return a number that changes whenever another connection commits."""
        return await self._reads.change_counter()

    def _with_groups(self, store: Store, client_id: str) -> Client | None:
        client = store.client(client_id)
        if client is None or not client.groups:
            return client
        known: tuple[Store, GroupRights] | None = getattr(self._groups, "known", None)
        if known is None or known[0] is not store:
            rights = GroupRights(lambda name: group_row(store, name), store.change_counter)
            known = self._groups.known = (store, rights)
        return known[1].applied(client)

    async def _read(self, work: Callable[[Store], _T]) -> _T:
        try:
            return await self._reads.run(work)
        except UpstreamError as error:
            raise unavailable() from error

# SPDX-License-Identifier: Apache-2.0
"""Whether the register in SQLite can be read and written."""

from __future__ import annotations

import sqlite3
import time

from keyfob.errors import UpstreamError
from keyfob.server.stores.sqlite import SqliteStore
from keyfob.server.stores.writer import Writer

__all__ = ["SqliteReadiness"]


class SqliteReadiness:
    """A ``ReadyStore``.

    Args:
        store: The connection that the endpoints read from.
        writer: What the server writes through.
    """

    def __init__(self, store: SqliteStore, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    async def has_signing_key(self) -> bool:
        """Read whether there is a key to sign with."""
        try:
            row = self._store.connection.execute("SELECT EXISTS (SELECT 1 FROM signing_key)")
            return bool(row.fetchone()[0])
        except sqlite3.Error as error:
            raise UpstreamError(f"{self._store.path}: {error}") from error

    async def write_probe(self) -> None:
        """Write the moment, and commit it: a full or read-only disk is seen nowhere else."""
        try:
            await self._writer.run(_probe)
        except (sqlite3.Error, RuntimeError) as error:  # RuntimeError: the writer is closed
            raise UpstreamError(f"{self._store.path}: {error}") from error


def _probe(store: SqliteStore) -> None:
    store.connection.execute("INSERT OR REPLACE INTO probe (id, at) VALUES (1, ?)", (time.time(),))

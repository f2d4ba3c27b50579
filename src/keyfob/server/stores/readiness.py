# SPDX-License-Identifier: Apache-2.0
"""Whether the register can be read and written."""

from __future__ import annotations

import sqlite3
import time

from keyfob.errors import UpstreamError
from keyfob.server.stores.reads import Reads
from keyfob.server.stores.store import Store
from keyfob.server.stores.writer import Writer

__all__ = ["StoredReadiness"]


class StoredReadiness:
    """A ``ReadyStore``.

    Args:
        reads: Where the endpoints read.
        writer: What the server writes through.
    """

    def __init__(self, reads: Reads, writer: Writer) -> None:
        self._reads = reads
        self._writer = writer

    async def has_signing_key(self) -> bool:
        """Read whether there is a key to sign with."""
        try:
            return await self._reads.run(_has_signing_key)
        except (sqlite3.Error, RuntimeError) as error:  # RuntimeError: the readers are closed
            raise UpstreamError(f"the register: {error}") from error

    async def write_probe(self) -> None:
        """Write the moment, and commit it: a full or read-only disk is seen nowhere else."""
        try:
            await self._writer.run(_probe, beside=b"probe")
        except (sqlite3.Error, RuntimeError) as error:  # RuntimeError: the writer is closed
            raise UpstreamError(f"the register: {error}") from error


def _has_signing_key(store: Store) -> bool:
    row = store.connection.execute("SELECT EXISTS (SELECT 1 FROM signing_key)").fetchone()
    return bool(row[0])


def _probe(store: Store) -> None:
    store.connection.execute(
        "INSERT INTO probe (id, at) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET at = excluded.at",
        (time.time(),),
    )

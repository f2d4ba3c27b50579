# SPDX-License-Identifier: Apache-2.0
"""Which client assertions were used, so that none is accepted twice (RFC 7523 section 3, 7).

In the database that all processes of the server share, and on disk before the answer: neither
another process nor the one after a crash takes an assertion again.
"""

from __future__ import annotations

import math
from typing import Final

from keyfob.server.stores.connection import Connection
from keyfob.server.stores.writer import Writer

__all__ = ["StoredUsedAssertions"]

# Each use removes more than it adds, so what is over goes soon and no use waits for a mountain.
_REMOVED_AT_ONCE: Final = 100
_REMOVE: Final = """
DELETE FROM used_assertion WHERE (client_id, token_hash) IN
  (SELECT client_id, token_hash FROM used_assertion WHERE until <= ? ORDER BY until LIMIT ?)
"""
_INSERT: Final = """
INSERT INTO used_assertion (client_id, token_hash, until) VALUES (?, ?, ?)
ON CONFLICT (client_id, token_hash) DO NOTHING
"""


class StoredUsedAssertions:
    """The uses.

    Args:
        writer: The thread that writes.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def insert_if_absent(
        self, client_id: str, token_hash: bytes, *, until: int, now: float
    ) -> bool:
        """Remember a use until some time; False where it was remembered already.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        return await self._writer.run(
            lambda store: _insert_if_absent(store.connection, client_id, token_hash, until, now),
            beside=token_hash,
        )


def _insert_if_absent(
    connection: Connection, client_id: str, token_hash: bytes, until: int, now: float
) -> bool:
    # A whole number as the column is: with a fraction PostgreSQL would use no index.
    connection.execute(_REMOVE, (math.floor(now), _REMOVED_AT_ONCE))
    return connection.execute(_INSERT, (client_id, token_hash, until)).rowcount == 1

# SPDX-License-Identifier: Apache-2.0
"""Which DPoP proofs were used, so that none counts twice (RFC 9449 section 11.1).

In the database that all processes of the server share, and on disk before the answer: neither
another process nor the one after a crash takes a proof again. A use is one hash, whoever made the
proof and whatever stood in it.
"""

from __future__ import annotations

import math
from typing import Final

from keyfob.server.stores.connection import Connection
from keyfob.server.stores.writer import Writer

__all__ = ["StoredUsedProofs"]

# Each use removes more than it adds, so what is over goes soon and no use waits for a mountain.
_REMOVED_AT_ONCE: Final = 100
_REMOVE: Final = """
DELETE FROM used_dpop_proof WHERE proof_hash IN
  (SELECT proof_hash FROM used_dpop_proof WHERE until <= ? ORDER BY until LIMIT ?)
"""
_INSERT: Final = """
INSERT INTO used_dpop_proof (proof_hash, until) VALUES (?, ?)
ON CONFLICT (proof_hash) DO NOTHING
"""


class StoredUsedProofs:
    """The uses.

    Args:
        writer: The thread that writes.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def insert_if_absent(self, proof_hash: bytes, *, until: int, now: float) -> bool:
        """Remember a use until some time; False where it was remembered already.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        return await self._writer.run(
            lambda store: _insert_if_absent(store.connection, proof_hash, until, now),
            beside=proof_hash,
        )


def _insert_if_absent(connection: Connection, proof_hash: bytes, until: int, now: float) -> bool:
    # A whole number as the column is: with a fraction PostgreSQL would use no index.
    connection.execute(_REMOVE, (math.floor(now), _REMOVED_AT_ONCE))
    return connection.execute(_INSERT, (proof_hash, until)).rowcount == 1

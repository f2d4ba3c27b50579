# SPDX-License-Identifier: Apache-2.0
"""What opaque access tokens say, in the register."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from keyfob.errors import UpstreamError
from keyfob.server.oauth_errors import unavailable
from keyfob.server.opaque_tokens import KeptToken
from keyfob.server.stores.connection import Connection
from keyfob.server.stores.reads import Reads
from keyfob.server.stores.store import Store
from keyfob.server.stores.writer import Writer

__all__ = ["StoredOpaqueTokens"]

# Each token removes more than it adds, so what is over goes soon and nobody waits for a mountain.
_REMOVED_AT_ONCE: Final = 100
_SWEEP: Final = """
DELETE FROM opaque_token WHERE id IN
  (SELECT id FROM opaque_token WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
"""
_INSERT: Final = """
INSERT INTO opaque_token (token_hash, subject, expires_at, claims, key_salt) VALUES (?, ?, ?, ?, ?)
"""
_TRIM: Final = """
DELETE FROM opaque_token WHERE id IN
  (SELECT id FROM opaque_token WHERE subject = ?
   ORDER BY expires_at > ? DESC, id DESC LIMIT ? OFFSET ?)
"""
_FIND: Final = """
SELECT token_hash, subject, expires_at, claims, key_salt FROM opaque_token WHERE token_hash = ?
"""


class StoredOpaqueTokens:
    """Those that are good, or were until lately.

    Args:
        reads: Where they are read.
        writer: Where writes take their turn.
    """

    def __init__(self, reads: Reads, writer: Writer) -> None:
        self._reads = reads
        self._writer = writer

    async def keep(self, token: KeptToken, *, now: int, limit: int, forgotten: int) -> None:
        """Keep a token and return once that is on the disk.

        Args:
            token: What it says.
            now: Unix seconds.
            limit: How many of its subject there are at most; those that have ended go first, then
                the oldest.
            forgotten: Tokens that ended by then are removed, some at a time.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        await self._writer.run(
            lambda store: _keep(store.connection, token, now=now, limit=limit, forgotten=forgotten),
            beside=token.subject.encode(),
        )

    async def find(self, token_hash: bytes) -> KeptToken | None:
        """Return what is kept of a token.

        Raises:
            OAuthError: ``temporarily_unavailable``: the register does not answer.
        """

        def work(store: Store) -> Any:  # noqa: ANN401 - a row
            return store.connection.execute(_FIND, (token_hash,)).fetchone()

        try:
            row = await self._reads.run(work)
        except UpstreamError as error:
            raise unavailable() from error
        if row is None:
            return None
        return KeptToken(
            token_hash=row[0],
            subject=row[1],
            expires_at=row[2],
            claims=msgspec.json.decode(row[3]),
            key_salt=row[4],
        )


def _keep(
    connection: Connection, token: KeptToken, *, now: int, limit: int, forgotten: int
) -> None:
    connection.execute(_SWEEP, (forgotten, _REMOVED_AT_ONCE))
    claims = msgspec.json.encode(token.claims).decode()  # as a JWT is written
    connection.execute(
        _INSERT, (token.token_hash, token.subject, token.expires_at, claims, token.key_salt)
    )
    connection.execute(_TRIM, (token.subject, now, _REMOVED_AT_ONCE, limit))

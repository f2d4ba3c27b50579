# SPDX-License-Identifier: Apache-2.0
"""Which tokens came out of which by token exchange, in the register.

A token that a gateway got for a sub-device must end with the gateway's own. Resource servers know
nothing of that: a revocation that reaches them names a device and a token. So each exchange leaves
a row before its token is given out, and what revokes a token revokes those that came out of it, and
out of these, within its own transaction.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from keyfob.server.clients import ClientKind
from keyfob.server.exchanged_token import ExchangedToken, Kept

if TYPE_CHECKING:
    from keyfob.server.stores.connection import Connection
    from keyfob.server.stores.store import Store
    from keyfob.server.stores.writer import Writer

__all__ = ["MAX_EXCHANGED", "StoredExchangedTokens", "end_exchanged"]

# Living ones, of one gateway. All of them may have to be revoked at once, and a guard remembers a
# million revocations.
MAX_EXCHANGED: Final = 10_000
_COUNT: Final = "SELECT count(*) FROM exchanged_token WHERE parent_subject = ? AND until > ?"
_INSERT: Final = """
INSERT INTO exchanged_token
  (parent_subject, parent_token_id, parent_issued_at, subject, token_id, issued_at, until)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_OF_ALL: Final = """
SELECT subject, token_id, issued_at, until FROM exchanged_token
WHERE parent_subject = ? AND parent_issued_at <= ? AND until > ?
"""
_OF_ONE: Final = """
SELECT subject, token_id, issued_at, until FROM exchanged_token
WHERE parent_subject = ? AND parent_token_id = ? AND until > ?
"""


class StoredExchangedTokens:
    """Written by the writer, read where something is revoked.

    Args:
        writer: Where writes take their turn.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def keep(self, token: ExchangedToken, *, now: float) -> Kept:
        """Remember where a token came from, and return once that is on the disk.

        Nothing is written where a token that it came from was revoked meanwhile: what revokes one
        later finds the row, because writers exclude each other.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        return await self._writer.run(lambda store: _keep(store, token, now))


def end_exchanged(
    store: Store,
    subject: str,
    *,
    token_id: str | None,
    issued_before: int,
    reason: str,
    now: float,
) -> None:
    """Revoke what came out of tokens that are revoked, within the caller's transaction.

    Args:
        store: The register.
        subject: Whose tokens are revoked.
        token_id: The one of them; None: all with an ``iat`` up to ``issued_before``.
        issued_before: See there.
        reason: Why.
        now: Unix seconds.
    """
    if token_id is None:
        rows = store.connection.execute(_OF_ALL, (subject, issued_before, now))
    else:
        rows = store.connection.execute(_OF_ONE, (subject, token_id, now))
    for device, exchanged, issued_at, until in rows.fetchall():
        if store.is_token_revoked(subject=device, token_id=exchanged, issued_at=issued_at):
            continue
        # Which comes back here for what came out of that one.
        store.revoke(
            device,
            issued_before=issued_at,
            until=until,
            reason=reason,
            now=now,
            token_id=exchanged,
        )


def _keep(store: Store, token: ExchangedToken, now: float) -> Kept:
    connection = store.connection
    # A whole number as the column is: with a fraction PostgreSQL would use no index.
    connection.execute("DELETE FROM exchanged_token WHERE until <= ?", (math.floor(now),))
    for parent in token.parents:
        device = store.client(parent.subject)
        if device is None or device.kind is not ClientKind.DEVICE or not device.enabled:
            return Kept.ENDED
        if store.is_token_revoked(
            subject=parent.subject, token_id=parent.token_id, issued_at=parent.issued_at
        ):
            return Kept.ENDED
        if _count(connection, parent.subject, now) >= MAX_EXCHANGED:
            return Kept.TOO_MANY
    for parent in token.parents:
        of_parent = (parent.subject, parent.token_id, parent.issued_at)
        of_token = (token.subject, token.token_id, token.issued_at, token.until)
        connection.execute(_INSERT, of_parent + of_token)
    return Kept.DONE


def _count(connection: Connection, subject: str, now: float) -> int:
    return int(connection.execute(_COUNT, (subject, now)).fetchone()[0])

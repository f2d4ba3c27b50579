# SPDX-License-Identifier: Apache-2.0
"""Operators who may approve devices, and their sessions in browsers, in the register."""

from __future__ import annotations

from typing import Final

from keyfob.server.operators import Operator, Session
from keyfob.server.stores.connection import Connection
from keyfob.server.stores.reads import Reads, read_row
from keyfob.server.stores.writer import Writer

__all__ = [
    "StoredOperators",
    "delete_operator",
    "end_sessions_of",
    "insert_operator",
    "list_operators",
    "set_password_hash",
]

# Of one operator: a browser that never signs out leaves one behind.
_MAX_SESSIONS: Final = 20
_TRIM: Final = """
DELETE FROM operator_session WHERE token_hash IN (
  SELECT token_hash FROM operator_session WHERE operator = ?
  ORDER BY created_at DESC, token_hash LIMIT 1000 OFFSET ?)
"""
# The account must be as it was when it was looked at; nothing is equal to NULL.
_ADD: Final = """
INSERT INTO operator_session (token_hash, operator, created_at, seen_at)
SELECT ?, name, ?, ? FROM operator_account
WHERE name = ? AND (password_hash = ? OR openid_subject = ?)
"""


class StoredOperators:
    """Operators and sessions, as the server uses them while it serves.

    Args:
        reads: Where they are read.
        writer: Where writes take their turn.
    """

    def __init__(self, reads: Reads, writer: Writer) -> None:
        self._reads = reads
        self._writer = writer

    async def has_operators(self) -> bool:
        """Say whether there is anybody who may sign in."""
        row = await read_row(self._reads, "SELECT 1 FROM operator_account LIMIT 1")
        return row is not None

    async def password_hash(self, name: str) -> str | None:
        """Return what an operator's password is compared with."""
        row = await read_row(
            self._reads,
            "SELECT password_hash FROM operator_account WHERE name = ?",
            (name,),
        )
        return None if row is None or row[0] is None else str(row[0])

    async def name_of(self, openid_subject: str) -> str | None:
        """Return the operator who is called so at the other issuer."""
        row = await read_row(
            self._reads,
            "SELECT name FROM operator_account WHERE openid_subject = ?",
            (openid_subject,),
        )
        return None if row is None else str(row[0])

    async def session(self, token_hash: bytes) -> Session | None:
        """Return a session whose operator is still one."""
        row = await read_row(
            self._reads,
            "SELECT s.operator, s.created_at, s.seen_at"
            " FROM operator_session s JOIN operator_account a ON a.name = s.operator"
            " WHERE s.token_hash = ?",
            (token_hash,),
        )
        if row is None:
            return None
        return Session(operator=row[0], created_at=row[1], seen_at=row[2])

    async def begin(
        self,
        token_hash: bytes,
        session: Session,
        *,
        password_hash: str | None,
        openid_subject: str | None,
        oldest: float,
    ) -> bool:
        """Keep a new session, and remove those from before ``oldest``.

        Args:
            token_hash: Of the session's token.
            session: The session.
            password_hash: What the password was compared with; None: there was none.
            openid_subject: Who the other issuer says he is; None: it was not asked.
            oldest: Sessions that began earlier are over.

        Returns:
            False where the operator is gone or has another password meanwhile.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        proof = (password_hash, openid_subject)
        return await self._writer.run(
            lambda store: _begin(store.connection, token_hash, session, proof, oldest)
        )

    async def seen(self, token_hash: bytes, at: float) -> None:
        """Write down when a session was used.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        await self._writer.run(
            lambda store: (
                store.connection.execute(
                    "UPDATE operator_session SET seen_at = ? WHERE token_hash = ?", (at, token_hash)
                ).rowcount
            )
        )

    async def end(self, token_hash: bytes) -> None:
        """End a session.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        await self._writer.run(
            lambda store: (
                store.connection.execute(
                    "DELETE FROM operator_session WHERE token_hash = ?", (token_hash,)
                ).rowcount
            )
        )


def insert_operator(connection: Connection, operator: Operator, password_hash: str | None) -> bool:
    """Add an operator; False where there is one of this name or subject."""
    done = connection.execute(
        "INSERT INTO operator_account"
        " (name, password_hash, openid_subject, created_at, changed_at)"
        " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            operator.name,
            password_hash,
            operator.openid_subject,
            operator.created_at,
            operator.changed_at,
        ),
    )
    return done.rowcount == 1


def list_operators(connection: Connection) -> tuple[Operator, ...]:
    """Return every operator, by name."""
    rows = connection.execute(
        "SELECT name, created_at, changed_at, openid_subject FROM operator_account ORDER BY name"
    )
    return tuple(
        Operator(name=row[0], created_at=row[1], changed_at=row[2], openid_subject=row[3])
        for row in rows
    )


def delete_operator(connection: Connection, name: str) -> bool:
    """Forget an operator; False where there is none of this name."""
    return connection.execute("DELETE FROM operator_account WHERE name = ?", (name,)).rowcount == 1


def set_password_hash(connection: Connection, name: str, password_hash: str, at: float) -> bool:
    """Replace an operator's password; False where there is none of this name."""
    done = connection.execute(
        "UPDATE operator_account SET password_hash = ?, changed_at = ? WHERE name = ?",
        (password_hash, at, name),
    )
    return done.rowcount == 1


def end_sessions_of(connection: Connection, operator: str) -> None:
    """End all sessions of an operator, in the caller's transaction."""
    connection.execute("DELETE FROM operator_session WHERE operator = ?", (operator,))


def _begin(
    connection: Connection,
    token_hash: bytes,
    session: Session,
    proof: tuple[str | None, str | None],
    oldest: float,
) -> bool:
    connection.execute("DELETE FROM operator_session WHERE created_at < ?", (oldest,))
    values = (token_hash, session.created_at, session.seen_at, session.operator, *proof)
    if connection.execute(_ADD, values).rowcount != 1:
        return False
    connection.execute(_TRIM, (session.operator, _MAX_SESSIONS))
    return True

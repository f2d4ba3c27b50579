# SPDX-License-Identifier: Apache-2.0
"""A database in PostgreSQL, which any number of server processes share.

Transactions are READ COMMITTED and take their advisory lock before they read anything. Those that
say nothing take one lock for themselves: they exclude every other writer, as SQLite's do. Those
that name the one row that they are about share that lock with each other, and exclude by a second
one who names the same row. So nothing is ever judged on what somebody else is about to change,
nothing has to be tried again because two met, and a row that all want costs a queue and no storm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from keyfob.errors import ConfigError, KeyfobError
from keyfob.server.stores.postgresql.connection import PostgresqlConnection
from keyfob.server.stores.postgresql.url import PostgresqlUrl
from keyfob.server.stores.schema import Migration, Schema, bring

__all__ = ["PostgresqlDatabase", "PostgresqlSchema", "open_postgresql", "postgresql_schema"]

_OLDEST: Final = 130_000
# Advisory locks are pairs of numbers: ours begin with "keyf" and "keyg".
_EVERYBODY: Final = 0x6B657966
_ONE_ROW: Final = 0x6B657967
_ALONE: Final = f"BEGIN; SELECT pg_advisory_xact_lock({_EVERYBODY}, 0)"
_BESIDE: Final = (
    f"BEGIN; SELECT pg_advisory_xact_lock_shared({_EVERYBODY}, 0);"
    f" SELECT pg_advisory_xact_lock({_ONE_ROW}, %d)"
)
# Whoever else migrates, or a table that is large, takes longer than a request may.
_MIGRATION: Final = (
    "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0;"
    f" SELECT pg_advisory_xact_lock({_EVERYBODY}, 0)"
)
_VERSION_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_version (
  version    BIGINT NOT NULL PRIMARY KEY,
  name       TEXT NOT NULL,
  applied_at TEXT NOT NULL
    DEFAULT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
)
"""
# What is committed later is not in the snapshot of before, and is in every one after.
_CHANGES: Final = "SELECT hashtextextended(CAST(pg_current_snapshot() AS TEXT), 0)"


def open_postgresql(url: PostgresqlUrl, *, migrate: bool = True) -> PostgresqlDatabase:
    """Open a connection.

    Args:
        url: Where.
        migrate: Whether the database is brought to the schema of this code.

    Raises:
        ConfigError: The database's schema is not this code's and cannot or shall not be brought
            there, or the server is too old.
        UpstreamError: The server does not answer, or does not let us in.
    """
    schema = postgresql_schema(url)
    try:
        bring(schema, migrate=migrate)
    except ConfigError as error:
        schema.close()
        raise ConfigError(f"{url.name}: {error}") from error
    except KeyfobError:
        schema.close()
        raise
    return PostgresqlDatabase(url.name, schema.connection)


def postgresql_schema(url: PostgresqlUrl) -> PostgresqlSchema:
    """Open a database to look at its schema, or to change it.

    Raises:
        ConfigError: The server is too old.
        UpstreamError: It does not answer, or does not let us in.
    """
    connection = PostgresqlConnection(url)
    number = connection.execute("SELECT current_setting('server_version_num')").fetchone()[0]
    if int(number) < _OLDEST:
        connection.close()
        raise ConfigError(f"{url.name}: Keyfob needs PostgreSQL 13 or newer")
    return PostgresqlSchema(connection)


class PostgresqlDatabase:
    """A ``Database``.

    Args:
        name: For messages.
        connection: To it.
    """

    def __init__(self, name: str, connection: PostgresqlConnection) -> None:
        self.name = name
        self.connection = connection

    @contextmanager
    def transaction(self, beside: bytes | None) -> Iterator[None]:
        """Commit what happens inside as one, or nothing of it; see ``Database.transaction``."""
        connection = self.connection
        try:
            connection.begin(_ALONE if beside is None else _BESIDE % _number(beside))
            yield
            connection.commit()
        finally:
            connection.rollback()

    def change_counter(self) -> int:
        """Return a number that changes whenever somebody commits, in whatever database."""
        return int(self.connection.execute(_CHANGES).fetchone()[0])

    def last_cursor(self) -> int:
        """Return the newest cursor of a revocation that was ever committed; 0 for none."""
        row = self.connection.execute("SELECT last_value FROM revocation_counter").fetchone()
        return int(row[0])

    def scrub(self) -> None:
        """Do nothing: what PostgreSQL keeps of a row, and in its log and backups, is its own.

        That is why signing keys have to be encrypted there.
        """

    def close(self) -> None:
        """Close the connection; closing it twice is allowed."""
        self.connection.close()


class PostgresqlSchema(Schema):
    """Which migrations a PostgreSQL database has had.

    Args:
        connection: To it.
    """

    folder = "postgresql"

    def __init__(self, connection: PostgresqlConnection) -> None:
        self.connection = connection

    def applied(self) -> tuple[str, ...]:
        """Return the names of the migrations that were applied, in order."""
        there = self.connection.execute("SELECT to_regclass('schema_version') IS NOT NULL")
        if not there.fetchone()[0]:
            return ()
        rows = self.connection.execute("SELECT name FROM schema_version ORDER BY version")
        return tuple(row[0] for row in rows)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Commit what happens inside as one, or nothing of it; nobody writes meanwhile."""
        try:
            self.connection.begin(_MIGRATION)
            self.connection.script(_VERSION_TABLE)
            yield
            self.connection.commit()
        finally:
            self.connection.rollback()

    def apply(self, migration: Migration) -> None:
        """Run a migration, and write down that it was."""
        self.connection.script(migration.sql)
        self.connection.execute(
            "INSERT INTO schema_version (version, name) VALUES (?, ?)",
            (migration.version, migration.name),
        )

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def _number(key: bytes) -> int:
    """Return a key as an advisory lock has it; keys that share a number only wait needlessly."""
    return int.from_bytes(hashlib.sha256(key).digest()[:4], "big", signed=True)

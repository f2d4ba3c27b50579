# SPDX-License-Identifier: Apache-2.0
"""A database in one SQLite file, which the server and the command line share.

WAL, so that a reader never waits for a writer; ``synchronous=FULL``, so that what was committed
outlives a power cut (a revocation that an operator was told of must). Writers exclude each other
by ``BEGIN IMMEDIATE`` and wait for their turn. The file holds the private signing keys and is
readable by its owner only.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from keyfob.errors import ConfigError, UpstreamError
from keyfob.server.stores.schema import Migration, Schema, bring

__all__ = ["SqliteDatabase", "SqliteSchema", "open_sqlite", "sqlite_schema"]

_BUSY_MS: Final = 5_000
_VERSION_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_version (
  version    INTEGER NOT NULL PRIMARY KEY,
  name       TEXT NOT NULL,
  applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
) STRICT
"""


def open_sqlite(path: Path, *, migrate: bool = True) -> SqliteDatabase:
    """Open a file, made with mode 0600 when missing.

    Args:
        path: The file.
        migrate: Whether it is brought to the schema of this code.

    Raises:
        ConfigError: It cannot be opened, is readable by others, is no database, or its schema is
            not this code's and cannot or shall not be brought there.
    """
    _ensure_private_file(path)
    try:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000
        )
    except sqlite3.Error as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        _use_write_ahead_log(connection)
        # secure_delete: no private key is left in a page that is free.
        for pragma in ("synchronous = FULL", "trusted_schema = OFF", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")
        bring(SqliteSchema(connection), migrate=migrate)
    except (sqlite3.Error, ConfigError) as error:
        connection.close()
        raise ConfigError(f"{path}: {error}") from error
    return SqliteDatabase(path, connection)


def sqlite_schema(path: Path) -> SqliteSchema:
    """Open a file to look at its schema, or to change it; it has to be there.

    Raises:
        ConfigError: It cannot be opened, or is readable by others.
    """
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file; the server makes it at its start")
    _ensure_private_file(path)
    try:
        return SqliteSchema(sqlite3.connect(path, isolation_level=None, timeout=_BUSY_MS / 1000))
    except sqlite3.Error as error:
        raise ConfigError(f"{path}: {error}") from error


class SqliteDatabase:
    """A ``Database``.

    Args:
        path: The file.
        connection: To it, in autocommit mode (``isolation_level=None``).
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.name = str(path)
        self.connection = connection

    @contextmanager
    def transaction(self, beside: bytes | None) -> Iterator[None]:  # noqa: ARG002 - one at a time
        """Commit what happens inside as one, or nothing of it; excludes every other writer."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield
            self.connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise UpstreamError(f"{self.name}: {error}") from error
        finally:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def change_counter(self) -> int:
        """Return a number that changes whenever another connection commits."""
        return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    def last_cursor(self) -> int:
        """Return the newest cursor of a revocation that was ever committed; 0 for none."""
        row = self.connection.execute(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'revocation'"
        ).fetchone()
        return int(row[0])

    def scrub(self) -> None:
        """Leave nothing in the files of what was overwritten, as far as SQLite has it in hand.

        The write-ahead log keeps pages as they were until it is emptied. Where somebody reads for
        so long that it cannot be now, the next checkpoint does it.
        """
        with suppress(sqlite3.OperationalError):
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the connection; closing it twice is allowed."""
        self.connection.close()


class SqliteSchema(Schema):
    """Which migrations a SQLite file has had.

    Args:
        connection: In autocommit mode.
    """

    folder = ""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def applied(self) -> tuple[str, ...]:
        """Return the names of the migrations that were applied, in order."""
        if not self._connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'"
        ).fetchone():
            return ()
        rows = self._connection.execute("SELECT name FROM schema_version ORDER BY version")
        return tuple(row[0] for row in rows)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Commit what happens inside as one, or nothing of it; nobody else migrates meanwhile."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.execute(_VERSION_TABLE)
            yield
            self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def apply(self, migration: Migration) -> None:
        """Run a migration, and write down that it was."""
        for statement in _statements(migration.sql):
            self._connection.execute(statement)
        self._connection.execute(
            "INSERT INTO schema_version (version, name) VALUES (?, ?)",
            (migration.version, migration.name),
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _statements(script: str) -> Iterator[str]:
    """Cut a script into statements; ``executescript`` would commit the transaction first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Wait our turn too: for this one change SQLite does not, whatever its timeout is."""
    deadline = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _ensure_private_file(path: Path) -> None:
    try:
        # Only a file that is new is opened here. Closing any descriptor of a file drops all POSIX
        # locks that this process has on it (fcntl(2)): another process that closes its connection
        # would then take itself for the last one and remove the write-ahead log under us.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigError(f"{path}: others may open it, and it holds private keys: chmod 600 it")

# SPDX-License-Identifier: Apache-2.0
"""Brings a database to the schema of this code: numbered SQL files, in order, all or none."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from keyfob.errors import ConfigError

__all__ = ["Migration", "migrate", "migrations"]

_FILE_NAME: Final = re.compile(r"(\d{4})_\w+\.sql")
_VERSION_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_version (
  version    INTEGER NOT NULL PRIMARY KEY,
  name       TEXT NOT NULL,
  applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered SQL file."""

    version: int
    name: str
    sql: str


@cache
def migrations() -> tuple[Migration, ...]:
    """Return the migrations that come with this code, numbered from 1 without a gap."""
    found = [
        Migration(int(match[1]), file.name, file.read_text(encoding="utf-8"))
        for file in files("keyfob.server.stores").joinpath("migrations").iterdir()
        if (match := _FILE_NAME.fullmatch(file.name))
    ]
    found.sort(key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise AssertionError("migrations are not numbered 1, 2, 3 …")
    return tuple(found)


def migrate(connection: sqlite3.Connection, known: tuple[Migration, ...] | None = None) -> None:
    """Apply what is missing, in one transaction; two processes may try at once.

    Args:
        connection: In autocommit mode (``isolation_level=None``).
        known: The migrations to bring it to; those of this code unless a test says otherwise.

    Raises:
        ConfigError: The database was made by a newer Keyfob.
    """
    known = migrations() if known is None else known
    if _version(connection) == len(known):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(_VERSION_TABLE)
        version = _version(connection)
        if version > len(known):
            raise ConfigError(
                f"the database has schema {version}, this Keyfob knows up to {len(known)}: "
                "a newer one made it; use that one"
            )
        for migration in known[version:]:
            for statement in _statements(migration.sql):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO schema_version (version, name) VALUES (?, ?)",
                (migration.version, migration.name),
            )
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection) -> int:
    if not connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'"
    ).fetchone():
        return 0
    row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    return int(row[0])


def _statements(script: str) -> Iterator[str]:
    """Cut a script into statements; ``executescript`` would commit the transaction first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""

# SPDX-License-Identifier: Apache-2.0
"""A register's database as the tests look into it, be it a file or in PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyfob.server.stores.connection import Connection
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import Store, open_store


def written(database: Place) -> str:
    """A database as an argument for another process, which reads it by `place_of`."""
    return str(database) if isinstance(database, Path) else database.text


@contextlib.contextmanager
def connected(database: Place) -> Iterator[Connection]:
    """A connection past the store; each statement is committed by itself."""
    store = open_store(database, migrate=False)
    try:
        yield store.connection
    finally:
        store.close()


def rows(database: Place, statement: str) -> list[tuple[Any, ...]]:
    """What another connection sees."""
    with connected(database) as connection:
        return connection.execute(statement).fetchall()


def impatient(store: Store) -> None:
    """Let a store wait for its turn no longer than a moment."""
    sqlite = not hasattr(store.connection, "script")
    setting = "PRAGMA busy_timeout = 10" if sqlite else "SET lock_timeout = '10ms'"
    store.connection.execute(setting)


def all_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every store that is opened from now on be so."""
    monkeypatch.setattr("keyfob.server.stores.sqlite._BUSY_MS", 10)
    session = "keyfob.server.stores.postgresql.connection._SESSION"
    monkeypatch.setattr(session, b"SET lock_timeout = '10ms'")


def everything(database: Place) -> bytes:
    """All that is kept: the bytes of the files, or of every value of every table."""
    if isinstance(database, Path):
        return b"".join(file.read_bytes() for file in database.parent.iterdir() if file.is_file())
    tables = rows(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    assert tables
    kept = b""
    for (table,) in tables:
        for row in rows(database, f"SELECT * FROM {table}"):
            kept += b"\n".join(v if isinstance(v, bytes) else str(v).encode() for v in row) + b"\n"
    return kept

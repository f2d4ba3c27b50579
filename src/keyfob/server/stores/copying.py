# SPDX-License-Identifier: Apache-2.0
"""Copies a register from its SQLite file into an empty PostgreSQL database: all of it, or nothing.

What is read is one snapshot of the file. Whoever changes the file meanwhile is not kept from it; it
is seen in the end, and then nothing is copied. Rows go from one to the other as they are read, so
a large fleet needs no more memory than a small one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from keyfob.errors import ConfigError, ConflictError, ProtocolError
from keyfob.server.stores.migrating import check_migrations
from keyfob.server.stores.place import PostgresqlUrl, schema_of
from keyfob.server.stores.schema import bring

__all__ = ["Copied", "CopiedTable", "copy_register"]

# Which migrations there were is each database's own; and the row that shows that one can write.
_NOT_COPIED: Final = ("schema_version", "probe")
_SEALED: Final = b"kfk1:"
_LAST_CURSOR: Final = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'revocation'"
# A file keeps plain keys for its owner alone; see docs/postgresql.md.
_PLAIN: Final = """
SELECT (SELECT count(*) FROM signing_key WHERE substr(private_key, 1, ?1) <> ?2)
     + (SELECT count(*) FROM receiver WHERE substr(credential, 1, ?1) <> ?2)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedTable:
    """A table, and how many rows are in it now."""

    name: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What was copied, from where to where; names as in messages."""

    source: str
    target: str
    tables: tuple[CopiedTable, ...]


def copy_register(
    source: Path, target: PostgresqlUrl, *, on_table: Callable[[str], None] = lambda _: None
) -> Copied:
    """Copy everything.

    Args:
        source: The file; it is not changed.
        target: A database that is empty, or has our tables and nothing in them.
        on_table: Is told which table is next.

    Raises:
        ConfigError: The file is not there, or its schema is not this code's; or it has private
            keys that are not encrypted, which do not belong into a database of others.
        ConflictError: The target is not empty, or the file was changed meanwhile.
        ProtocolError: The numbers of rows are not the same; nothing was copied.
        UpstreamError: The PostgreSQL server does not answer, or does not let us.
    """
    standing = check_migrations(source)
    if standing.missing:
        raise ConfigError(f"{source} lacks {standing.missing[0]}; `keyfob database migrate`")
    try:
        with closing(_reading(source)) as reading:
            return _copied(reading, source, target, on_table)
    except sqlite3.Error as error:
        raise ConfigError(f"{source}: {error}") from error


def _copied(
    reading: sqlite3.Connection,
    source: Path,
    target: PostgresqlUrl,
    on_table: Callable[[str], None],
) -> Copied:
    before = _changes(reading)
    reading.execute("BEGIN")
    _check_encrypted(reading, source)
    last_cursor = reading.execute(_LAST_CURSOR).fetchone()[0]
    with closing(schema_of(target)) as schema:
        from keyfob.server.stores.postgresql.database import PostgresqlSchema  # noqa: PLC0415
        from keyfob.server.stores.postgresql.filling import Filling  # noqa: PLC0415

        bring(schema)
        filling = Filling(cast("PostgresqlSchema", schema), target.name)
        tables = []
        with filling.whole(last_cursor=last_cursor):
            for name in _tables(reading):
                on_table(name)
                columns = [row[1] for row in reading.execute(f"PRAGMA table_info({name})")]
                named = ", ".join(f'"{column}"' for column in columns)
                rows = reading.execute(f"SELECT {named} FROM {name}")  # noqa: S608
                there = filling.take(name, columns, rows)
                _check_count(reading, name, there)
                tables.append(CopiedTable(name=name, rows=there))
            reading.execute("COMMIT")
            if _changes(reading) != before:
                raise ConflictError(
                    f"{source} was changed meanwhile, and nothing is copied: stop the server first"
                )
    return Copied(source=str(source), target=target.name, tables=tuple(tables))


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)


def _changes(reading: sqlite3.Connection) -> int:
    return int(reading.execute("PRAGMA data_version").fetchone()[0])


def _tables(reading: sqlite3.Connection) -> list[str]:
    rows = reading.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%'"
        " ESCAPE '\\' ORDER BY name"
    )
    return [name for (name,) in rows if name not in _NOT_COPIED]


def _check_encrypted(reading: sqlite3.Connection, source: Path) -> None:
    if reading.execute(_PLAIN, (len(_SEALED), _SEALED)).fetchone()[0]:
        raise ConfigError(
            f"{source} has private keys that are not encrypted, and in PostgreSQL they have to be:"
            " write key_encryption in [server], and start the server once"
        )


def _check_count(reading: sqlite3.Connection, table: str, there: int) -> None:
    here = reading.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
    if here != there:
        raise ProtocolError(f"{table}: {here} rows, and {there} of them arrived")

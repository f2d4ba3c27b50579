# SPDX-License-Identifier: Apache-2.0
"""An empty PostgreSQL database that is given the rows of another, in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from keyfob.errors import ConfigError, ConflictError, UpstreamError
from keyfob.server.stores.postgresql.database import PostgresqlSchema

__all__ = ["Filling"]

# What a database that nobody has used may hold all the same.
_OWN: Final = frozenset(
    {"schema_version", "probe", "allowance", "device_poll", "revocation_counter"}
)
_TABLES: Final = """
SELECT table_name, column_name, is_identity FROM information_schema.columns
WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position
"""
_NUMBERED: Final = """
SELECT setval(pg_get_serial_sequence(?, ?), greatest(1, (SELECT max({column}) FROM {table})),
              EXISTS (SELECT 1 FROM {table}))
"""


class Filling:
    """Takes rows, table by table.

    Args:
        schema: Of the database, brought to this code's.
        name: Of the database, for messages.
    """

    def __init__(self, schema: PostgresqlSchema, name: str) -> None:
        self._schema = schema
        self._connection = schema.connection
        self._name = name
        self._columns: dict[str, list[str]] = {}
        self._identities: dict[str, str] = {}
        for table, column, identity in self._connection.execute(_TABLES):
            self._columns.setdefault(table, []).append(column)
            if identity == "YES":
                self._identities[table] = column

    @contextmanager
    def whole(self, *, last_cursor: int) -> Iterator[None]:
        """Keep all that is taken inside, or nothing of it; nobody else writes meanwhile.

        Args:
            last_cursor: The newest cursor of a revocation that was ever given out: the next one
                follows it, for guards have read that far.

        Raises:
            ConflictError: Something is in the database already.
            UpstreamError: It is gone, its disk is full, or it lets us do less than its owner may.
        """
        connection = self._connection
        with self._schema.alone():
            # The other side may be slow, and may have to be counted.
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            self._check_empty()
            # Cursors stay what they are: the trigger would give out new ones.
            connection.execute("ALTER TABLE revocation DISABLE TRIGGER revocation_number")
            yield
            connection.execute("ALTER TABLE revocation ENABLE TRIGGER revocation_number")
            connection.execute("UPDATE revocation_counter SET last_value = ?", (last_cursor,))
            for table, column in self._identities.items():
                statement = _NUMBERED.format(table=_quoted(table), column=_quoted(column))
                connection.execute(statement, (table, column))
        with suppress(UpstreamError):  # what is there is there; PostgreSQL does it later by itself
            connection.execute("ANALYZE")

    def take(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Take all rows of a table; return how many are in it then.

        Raises:
            ConfigError: There is no such table here, or it has other columns.
        """
        if sorted(columns) != sorted(self._columns.get(table, ())):
            raise ConfigError(f"{self._name}: the table {table} is not as in the other database")
        named = ", ".join(map(_quoted, columns))
        self._connection.copy_in(f"COPY {_quoted(table)} ({named}) FROM STDIN", rows)
        return self._count(table)

    def _check_empty(self) -> None:
        for table in sorted(self._columns.keys() - _OWN):
            found = self._connection.execute(f"SELECT 1 FROM {_quoted(table)} LIMIT 1")  # noqa: S608
            if found.fetchone() is not None:
                raise ConflictError(
                    f"{self._name} is not empty: there are rows in {table}; name a new database"
                )

    def _count(self, table: str) -> int:
        found = self._connection.execute(f"SELECT count(*) FROM {_quoted(table)}")  # noqa: S608
        return int(found.fetchone()[0])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

# SPDX-License-Identifier: Apache-2.0
"""What the store classes need of a database: little enough that sqlite3's own connection has it.

The classes are written once, with one SQL text for each statement (docs/adr/0021). Where SQLite and
PostgreSQL differ in more than a driver can hide, the difference is a method of ``Database``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from keyfob.errors import UpstreamError

__all__ = ["Connection", "Cursor", "Database", "Parameters", "TryAgainError"]

Parameters = Sequence[Any] | Mapping[str, Any]


class TryAgainError(UpstreamError):
    """Nothing of a transaction was done, and the same may be done again at once."""


class Cursor(Protocol):
    """The rows of one statement, each a tuple."""

    @property
    def rowcount(self) -> int:
        """How many rows the statement changed."""

    def fetchone(self) -> Any:  # noqa: ANN401 - a row is a tuple of what its table holds, or None
        """Return the next row; None: there is none."""

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """Runs statements, one thread at a time; outside a transaction each counts by itself.

    Placeholders are ``?`` with a sequence, or ``:name`` with a mapping.
    """

    @property
    def in_transaction(self) -> bool:
        """Whether one is going on."""

    def execute(self, sql: str, parameters: Parameters = ..., /) -> Cursor:
        """Run a statement."""

    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> Cursor:
        """Run a statement once for each of the parameters."""


class Database(Protocol):
    """One open connection, and what is peculiar to its kind of database."""

    @property
    def name(self) -> str:
        """What the database is called in messages; never with a password."""

    @property
    def connection(self) -> Connection:
        """Where statements are run."""

    def transaction(self, beside: bytes | None) -> AbstractContextManager[None]:
        """Commit what happens inside as one, or nothing of it.

        What is inside excludes every other writer, in any process; with ``beside`` only those who
        give the same key, and those who give none. So whoever reads, judges and writes inside
        finds what it read unchanged.

        Args:
            beside: What alone is read and written, where that is so: a row's key.

        Raises:
            TryAgainError: Nothing was done, and somebody else's transaction is why.
            UpstreamError: The database stayed locked, is gone, or its disk is full.
        """

    def change_counter(self) -> int:
        """Return a number that changes whenever another connection commits."""

    def last_cursor(self) -> int:
        """Return the newest cursor of a revocation that was ever committed; 0 for none."""

    def scrub(self) -> None:
        """Leave nothing of what was overwritten, as far as that is in our hands."""

    def close(self) -> None:
        """Close the connection; closing it twice is allowed."""

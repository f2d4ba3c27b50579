# SPDX-License-Identifier: Apache-2.0
"""Brings a database to the schema of this code: numbered SQL files, in order, all or none.

Each database has files of its own, with the same numbers and names: what they make is the same to
the store classes.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import ClassVar, Final, Protocol

from keyfob.errors import ConfigError

__all__ = ["Migration", "Schema", "bring", "migrations", "missing"]

_FILE_NAME: Final = re.compile(r"(\d{4})_\w+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered SQL file."""

    version: int
    name: str
    sql: str


class Schema(Protocol):
    """Which migrations a database has had, and how it gets more."""

    folder: ClassVar[str]
    """Where its files are, in ``migrations``."""

    def applied(self) -> tuple[str, ...]:
        """Return the names of the migrations that were applied, in order."""

    def alone(self) -> AbstractContextManager[None]:
        """Commit what happens inside as one, or nothing of it; nobody else migrates meanwhile."""

    def apply(self, migration: Migration) -> None:
        """Run a migration, and write down that it was."""

    def close(self) -> None:
        """Close the connection."""


@cache
def migrations(folder: str = "") -> tuple[Migration, ...]:
    """Return the migrations that come with this code, numbered from 1 without a gap."""
    place = files("keyfob.server.stores").joinpath("migrations", folder)
    found = [
        Migration(int(match[1]), file.name, file.read_text(encoding="utf-8"))
        for file in place.iterdir()
        if (match := _FILE_NAME.fullmatch(file.name))
    ]
    found.sort(key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise AssertionError("migrations are not numbered 1, 2, 3 …")
    return tuple(found)


def bring(
    schema: Schema, *, migrate: bool = True, known: tuple[Migration, ...] | None = None
) -> tuple[str, ...]:
    """Apply what is missing, in one transaction; two processes may try at once.

    Args:
        schema: Of the database.
        migrate: Whether to; otherwise it is an error that something is missing.
        known: The migrations to bring it to; those of this code unless a test says otherwise.

    Returns:
        The names of those that were applied.

    Raises:
        ConfigError: The database was made by a newer Keyfob, or something is missing and shall not
            be applied.
    """
    left = missing(schema, known)
    if not left:
        return ()
    if not migrate:
        raise ConfigError(
            f"the database lacks {left[0].name} and {len(left) - 1} more migrations:"
            " `keyfob database migrate` brings it there"
        )
    with schema.alone():
        left = missing(schema, known)  # somebody else may have been faster
        for migration in left:
            schema.apply(migration)
    return tuple(migration.name for migration in left)


def missing(schema: Schema, known: tuple[Migration, ...] | None = None) -> tuple[Migration, ...]:
    """Return the migrations that a database has not had.

    Args:
        schema: Of the database.
        known: All that there are; those of this code unless a test says otherwise.

    Raises:
        ConfigError: The database was made by a newer Keyfob.
    """
    known = migrations(schema.folder) if known is None else known
    version = len(schema.applied())
    if version > len(known):
        raise ConfigError(
            f"the database has schema {version}, this Keyfob knows up to {len(known)}: "
            "a newer one made it; use that one"
        )
    return known[version:]

# SPDX-License-Identifier: Apache-2.0
"""Migrations by hand: which a database has had, and applying those that it has not."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from keyfob.errors import ConfigError
from keyfob.server.stores.place import Place, schema_of
from keyfob.server.stores.schema import Schema, bring, missing

__all__ = ["Standing", "check_migrations", "run_migrations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a database has had.

    Attributes:
        name: The database, as in messages.
        applied: Names of migrations that had been applied before anybody asked.
        new: Those that were applied now.
        missing: Those that are missing.
    """

    name: str
    applied: tuple[str, ...]
    new: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def check_migrations(place: Place) -> Standing:
    """Look, and change nothing.

    Raises:
        ConfigError: There is no such database, or a newer Keyfob made it.
        UpstreamError: The PostgreSQL server does not answer.
    """
    with _opened(place) as schema:
        left = tuple(migration.name for migration in missing(schema))
        return Standing(name=_name(place), applied=schema.applied(), missing=left)


def run_migrations(place: Place) -> Standing:
    """Apply what is missing, in one transaction.

    Raises:
        ConfigError: There is no such database, or a newer Keyfob made it.
        UpstreamError: The PostgreSQL server does not answer.
    """
    with _opened(place) as schema:
        new = bring(schema)
        applied = schema.applied()
        return Standing(name=_name(place), applied=applied[: len(applied) - len(new)], new=new)


@contextlib.contextmanager
def _opened(place: Place) -> Iterator[Schema]:
    schema = schema_of(place)
    try:
        yield schema
    except sqlite3.Error as error:
        raise ConfigError(f"{_name(place)}: {error}") from error
    finally:
        schema.close()


def _name(place: Place) -> str:
    return str(place)

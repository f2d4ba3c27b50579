# SPDX-License-Identifier: Apache-2.0
"""Where a register is: in a SQLite file, or in a PostgreSQL database."""

from __future__ import annotations

from pathlib import Path

from keyfob.errors import ConfigError
from keyfob.server.stores.connection import Database
from keyfob.server.stores.postgresql.url import SCHEMES, PostgresqlUrl
from keyfob.server.stores.schema import Schema
from keyfob.server.stores.sqlite import open_sqlite, sqlite_schema

__all__ = ["Place", "PostgresqlUrl", "open_database", "place_of", "schema_of"]

Place = Path | PostgresqlUrl


def place_of(text: str) -> Place:
    """Return the database that a text names: by a URL of PostgreSQL's, or by the path of a file.

    Raises:
        ConfigError: It begins as such a URL and is none. The message does not repeat it.
    """
    return PostgresqlUrl.parse(text) if text.startswith(SCHEMES) else Path(text)


def open_database(place: Place, *, migrate: bool = True) -> Database:
    """Open one connection to a database; see ``open_store``."""
    if isinstance(place, Path):
        return open_sqlite(place, migrate=migrate)
    try:
        from keyfob.server.stores.postgresql.database import open_postgresql  # noqa: PLC0415
    except ImportError as error:
        raise _no_driver() from error
    return open_postgresql(place, migrate=migrate)


def schema_of(place: Place) -> Schema:
    """Open a database as it is; the caller closes it. A file has to be there.

    Raises:
        ConfigError: It cannot be opened.
        UpstreamError: The PostgreSQL server does not answer.
    """
    if isinstance(place, Path):
        return sqlite_schema(place)
    try:
        from keyfob.server.stores.postgresql.database import postgresql_schema  # noqa: PLC0415
    except ImportError as error:
        raise _no_driver() from error
    return postgresql_schema(place)


def _no_driver() -> ConfigError:
    return ConfigError(
        'PostgreSQL needs psycopg, which comes with `pip install "keyfob[postgresql]"`'
    )

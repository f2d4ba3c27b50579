# SPDX-License-Identifier: Apache-2.0
"""From ``[server] database`` to the database that the server opens."""

from __future__ import annotations

from pathlib import Path

from keyfob.config import SecretReference, Settings, database_kind
from keyfob.errors import ConfigError
from keyfob.server.stores.place import Place, PostgresqlUrl

__all__ = ["require_encryption", "server_database"]


def server_database(settings: Settings) -> Place:
    """Return the authorization server's database.

    Raises:
        ConfigError: The URL is none, or is not where the reference says; the message says file
            and line, and does not repeat the URL.
    """
    text = settings.server.database
    kind = database_kind(text)
    if kind == "file":
        return Path(text)
    try:
        if kind == "reference":
            text = SecretReference.parse(text, settings.directory).read()
        return PostgresqlUrl.parse(text)
    except ConfigError as error:
        raise settings.wrong("server.database", error.message) from error


def require_encryption(settings: Settings) -> None:
    """Refuse private keys that would stand plain in a database that others keep.

    A file is its owner's. A database server has administrators, replicas and backups, and keeps
    what was overwritten for longer than anybody can say.

    Raises:
        ConfigError: Signing keys are not encrypted, and the database is no file.
    """
    if database_kind(settings.server.database) != "file" and not settings.server.key_encryption:
        raise settings.wrong(
            "server.key_encryption",
            "is empty, and signing keys in PostgreSQL have to be encrypted; write file:PATH or"
            " env:NAME, with a key that `openssl rand -hex 32` makes",
        )

# SPDX-License-Identifier: Apache-2.0
"""Where a PostgreSQL database is, and how to get in; the password in it is never shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

from keyfob.errors import ConfigError
from keyfob.server.stores.postgresql.outage import Outage

__all__ = ["SCHEMES", "PostgresqlUrl"]

SCHEMES: Final = ("postgresql://", "postgres://")
_MAX_LENGTH: Final = 4_096
_SECRETS: Final = frozenset({"password", "sslpassword", "oauth_client_secret"})


@dataclass(frozen=True, slots=True)
class PostgresqlUrl:
    """A connection URI (PostgreSQL's documentation, section 34.1.1.2).

    Args:
        name: The same for messages: user, hosts and database.
        text: The URI, as given.
        secrets: What in it is never shown.
        outage: What this process knows of a server that does not answer; its connections share it.
    """

    name: str
    text: str = field(repr=False)
    secrets: frozenset[str] = field(repr=False)
    outage: Outage = field(default_factory=Outage, repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> PostgresqlUrl:
        """Read a URI.

        Raises:
            ConfigError: It is none. The message does not repeat it.
        """
        scheme, _, rest = text.partition("://")
        if f"{scheme}://" not in SCHEMES:
            raise ConfigError("a PostgreSQL database is named by a URL, postgresql://…")
        if len(text) > _MAX_LENGTH or not text.isprintable() or " " in text:
            raise ConfigError("the URL of the database is too long, or holds what no URL does")
        rest, _, query = rest.partition("?")
        authority, slash, path = rest.partition("/")
        account, at, hosts = authority.rpartition("@")
        user, _, password = account.partition(":")
        try:
            options = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError as error:
            raise ConfigError("what follows the ? in the database's URL is malformed") from error
        found = {password, unquote(password)}
        for option, value in options:
            if option in _SECRETS:
                found |= {value, *_as_written(query, option)}
        name = f"{scheme}://{user}{at}{hosts}{slash}{path}"
        return cls(name, text, frozenset(found - {""}))

    def __str__(self) -> str:
        return self.name

    def masked(self, message: str) -> str:
        """Return a message of the driver's, one line and without what is secret."""
        line = message.strip().partition("\n")[0]
        for secret in sorted(self.secrets, key=len, reverse=True):
            line = line.replace(secret, "…")
        return line


def _as_written(query: str, option: str) -> set[str]:
    pairs = [part.partition("=") for part in query.split("&")]
    return {value for name, _, value in pairs if unquote(name) == option}

# SPDX-License-Identifier: Apache-2.0
"""What ``[server] database`` may be: a file, a PostgreSQL database, or where its URL is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qsl

__all__ = ["database_fault", "database_kind", "with_directory"]

_URLS: Final = ("postgresql://", "postgres://")
_REFERENCES: Final = ("env:", "file:")
_SECRETS: Final = frozenset({"password", "sslpassword"})


def database_kind(text: str) -> Literal["file", "url", "reference"]:
    """Say what a value is: a SQLite file, a URL, or a reference to a secret that holds a URL."""
    if text.startswith(_URLS):
        return "url"
    return "reference" if text.startswith(_REFERENCES) else "file"


def database_fault(text: str) -> str | None:
    """Say what is wrong with a value, and what to write; None: nothing that the text shows."""
    kind = database_kind(text)
    if not text or "\0" in text:
        return "is empty or no path; write a file, or postgresql://USER@HOST/DATABASE"
    if kind == "file" and "://" in text:
        return "names no database that Keyfob knows; write a file, or postgresql://…"
    if kind == "url" and _holds_password(text):
        return (
            "holds a password, and secrets never stand here; write the whole URL elsewhere, and"
            " env:NAME or file:PATH here"
        )
    return None


def with_directory(text: str, directory: Path) -> str:
    """Return a value with the path of a file made absolute."""
    return str(directory / text) if database_kind(text) == "file" else text


def _holds_password(text: str) -> bool:
    rest, _, query = text.partition("://")[2].partition("?")
    account = rest.partition("/")[0].rpartition("@")[0]
    return ":" in account or any(name in _SECRETS for name, _ in parse_qsl(query))

# SPDX-License-Identifier: Apache-2.0
"""From the placeholders that sqlite3 knows to those that psycopg knows."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

__all__ = ["translated"]

# What is quoted or a comment stays as it is, and ``::`` is PostgreSQL's cast.
_PART: Final = re.compile(
    r"""(?P<kept>'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|::)"""
    r"|(?P<positional>\?)|:(?P<name>[A-Za-z_]\w*)|(?P<percent>%)",
    re.ASCII | re.DOTALL,
)


@lru_cache(maxsize=1_024)
def translated(sql: str) -> bytes:
    """Return a statement with ``%s`` for ``?`` and ``%(name)s`` for ``:name``.

    Statements are constants of this code: the cache ends with them.
    """
    return _PART.sub(_written, sql).encode()


def _written(match: re.Match[str]) -> str:
    if match["kept"] is not None:
        return match["kept"].replace("%", "%%")
    if match["positional"]:
        return "%s"
    return "%%" if match["percent"] else f"%({match['name']})s"

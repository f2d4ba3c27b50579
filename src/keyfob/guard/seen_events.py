# SPDX-License-Identifier: Apache-2.0
"""Which security event tokens were taken in: one that comes again has no second effect.

To take one in twice would do no harm, because a revocation says until when tokens were issued that
it means; so it is enough to know the latest, for as long as what they revoked matters.
"""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Final

from keyfob.guard.database import Change, Database

__all__ = ["MAX_SEEN", "SeenEvents"]

MAX_SEEN: Final = 100_000
"""About 20 MB. The first to come are forgotten first."""

_STORE: Final = "INSERT OR REPLACE INTO event (issuer, jti, until) VALUES (?, ?, ?)"
_FORGET: Final = "DELETE FROM event WHERE issuer = ? AND jti = ?"
_PURGE: Final = "DELETE FROM event WHERE until <= ?"

_Key = tuple[str, str]


class SeenEvents:
    """The tokens that were taken in; used in one event loop.

    Args:
        database: The file they are kept in; None: they are not kept past the process.
        size: How many are kept.
    """

    def __init__(self, database: Database | None = None, *, size: int = MAX_SEEN) -> None:
        self._database = database
        self._size = size
        self._until: dict[_Key, float] = {}
        if database is not None:
            for issuer, jti, until in database.rows("SELECT issuer, jti, until FROM event"):
                self._until[str(issuer), str(jti)] = float(until)

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, token: tuple[str, str]) -> bool:
        """Whether a token, by its issuer and ``jti``, was taken in."""
        return token in self._until

    def change(self, issuer: str, jti: str, until: float) -> Change:
        """Return what writes a token down; ``add`` it once that is committed.

        Args:
            issuer: Whose it is.
            jti: Which of its.
            until: Until when to know it, in Unix seconds.
        """
        return partial(_execute, _STORE, (issuer, jti, until))

    def add(self, issuer: str, jti: str, until: float) -> None:
        """Know a token from now on."""
        self._until[issuer, jti] = until
        if len(self._until) > self._size:
            first = next(iter(self._until))
            del self._until[first]
            if self._database is not None:
                self._database.put(("event", first), partial(_execute, _FORGET, first))

    def purge(self, now: float) -> None:
        """Forget what cannot matter any more.

        Args:
            now: Unix seconds.
        """
        kept = {token: until for token, until in self._until.items() if until > now}
        if len(kept) < len(self._until) and self._database is not None:
            self._database.put("purge of events", partial(_execute, _PURGE, (now,)))
        self._until = kept


def _execute(statement: str, row: tuple[object, ...], connection: sqlite3.Connection) -> None:
    connection.execute(statement, row)

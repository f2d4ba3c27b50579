# SPDX-License-Identifier: Apache-2.0
"""The signing keys: every change of them is one compare-and-set."""

from __future__ import annotations

from keyfob.server.signing.timetable import Change, StoredKey
from keyfob.server.stores.connection import Database

__all__ = ["SigningKeyTable"]


class SigningKeyTable:
    """The table of signing keys, on one connection.

    Args:
        database: The store's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = database.connection

    def all(self) -> tuple[StoredKey, ...]:
        """Return every key, the one that signs last first."""
        rows = self._connection.execute(
            "SELECT kid, algorithm, private_key, created_at, signs_from FROM signing_key"
            " ORDER BY signs_from DESC, kid DESC"
        )
        return tuple(
            StoredKey(
                kid=row[0],
                algorithm=row[1],
                private_key=row[2],
                created_at=row[3],
                signs_from=row[4],
            )
            for row in rows
        )

    def change(self, change: Change, new: StoredKey | None) -> bool:
        """Remove keys and add one, where there are still those that the change was decided on.

        To be called in a transaction.

        Returns:
            Whether it was done; otherwise somebody else was faster.
        """
        known = self._connection.execute("SELECT kid FROM signing_key").fetchall()
        if {row[0] for row in known} != change.seen:
            return False
        self._connection.executemany(
            "DELETE FROM signing_key WHERE kid = ?", [(kid,) for kid in sorted(change.remove)]
        )
        if new is not None:
            self._connection.execute(
                "INSERT INTO signing_key (kid, algorithm, private_key, created_at, signs_from)"
                " VALUES (?, ?, ?, ?, ?)",
                (new.kid, new.algorithm, new.private_key, new.created_at, new.signs_from),
            )
        return True

    def reseal(self, kid: str, *, before: bytes, after: bytes) -> None:
        """Replace how a private key is written down, where it is still written as before.

        To be called in a transaction, and ``scrub`` after it.
        """
        self._connection.execute(
            "UPDATE signing_key SET private_key = ? WHERE kid = ? AND private_key = ?",
            (after, kid, before),
        )

    def scrub(self) -> None:
        """Leave nothing of what was overwritten, as far as that is in our hands."""
        self._database.scrub()

# SPDX-License-Identifier: Apache-2.0
"""Initial access tokens in the register, by their hash."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from keyfob.server.stores.store import Store

__all__ = [
    "StoredRegistrationToken",
    "delete_registration_token",
    "find_registration_token",
    "insert_registration_token",
    "registration_token_named",
    "registration_token_page",
    "use_registration_token",
]

_SELECT: Final = (
    "SELECT name, token_hash, uses_left, expires_at, template, created_at FROM registration_token"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRegistrationToken:
    """A row; ``template`` is a JSON document."""

    name: str
    token_hash: str = field(repr=False)
    uses_left: int
    expires_at: float
    template: str
    created_at: float


def insert_registration_token(store: Store, row: StoredRegistrationToken) -> None:
    """Add a token, in the transaction that is going on."""
    store.connection.execute(
        "INSERT INTO registration_token"
        " (name, token_hash, uses_left, expires_at, template, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            row.name,
            row.token_hash,
            row.uses_left,
            row.expires_at,
            row.template,
            row.created_at,
        ),
    )


def registration_token_page(
    store: Store, *, after: str, limit: int
) -> tuple[StoredRegistrationToken, ...]:
    """Return the tokens that follow a name, by name."""
    query = f"{_SELECT} WHERE name > ? ORDER BY name LIMIT ?"
    return tuple(map(_row, store.connection.execute(query, (after, limit))))


def registration_token_named(store: Store, name: str) -> StoredRegistrationToken | None:
    """Return a token by the name that the operator gave it."""
    row = store.connection.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
    return None if row is None else _row(row)


def find_registration_token(
    store: Store, token_hash: str, *, now: float
) -> StoredRegistrationToken | None:
    """Return a token that may still be used, by its hash."""
    row = store.connection.execute(
        f"{_SELECT} WHERE token_hash = ? AND uses_left > 0 AND expires_at > ?", (token_hash, now)
    ).fetchone()
    return None if row is None else _row(row)


def use_registration_token(store: Store, token_hash: str, *, now: float) -> bool:
    """Spend one use, in the transaction that is going on; False: there is none left."""
    done = store.connection.execute(
        "UPDATE registration_token SET uses_left = uses_left - 1"
        " WHERE token_hash = ? AND uses_left > 0 AND expires_at > ?",
        (token_hash, now),
    )
    return done.rowcount == 1


def delete_registration_token(store: Store, name: str) -> bool:
    """Forget a token; False: there is none of this name."""
    done = store.connection.execute("DELETE FROM registration_token WHERE name = ?", (name,))
    return done.rowcount == 1


def _row(row: tuple[Any, ...]) -> StoredRegistrationToken:
    return StoredRegistrationToken(
        name=row[0],
        token_hash=row[1],
        uses_left=row[2],
        expires_at=row[3],
        template=row[4],
        created_at=row[5],
    )

# SPDX-License-Identifier: Apache-2.0
"""The register, which the server and the command line share: in SQLite or in PostgreSQL."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from keyfob.errors import ConflictError
from keyfob.server.client_metadata import ClientMetadata, metadata_text, read_metadata
from keyfob.server.clients import Client, ClientKind, StoredSecret
from keyfob.server.stores.connection import Connection, Database
from keyfob.server.stores.exchanged_tokens import end_exchanged
from keyfob.server.stores.place import Place, open_database
from keyfob.server.stores.placing import set_groups, set_labels
from keyfob.server.stores.signing_keys import SigningKeyTable

__all__ = ["Store", "StoredRevocation", "open_store"]

# Of those that ended: a bulk of a million must not end in the one transaction of whoever is next.
_FORGOTTEN_AT_ONCE: Final = 1_000
_FORGET: Final = """
DELETE FROM revocation WHERE cursor IN
  (SELECT cursor FROM revocation WHERE until <= ? ORDER BY until LIMIT ?)
"""
_CLIENT: Final = """
SELECT client_id, kind, secret_hash, grants, scopes, lifetime, disabled_at, created_at,
       last_token_at, (SELECT max(issued_before) FROM revocation
                       WHERE subject = client_id AND token_id IS NULL),
       jwks, metadata, pending, group_names, old_secret_hash
FROM client
"""

# A look into this is cheaper than a call of the class, and made twice for every token.
_KINDS: Final = {kind.value: kind for kind in ClientKind}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRevocation:
    """Tokens of ``subject`` with ``iat <= issued_before`` are revoked; it matters until then.

    With a ``token_id`` only the one of them that has it as its ``jti``.
    """

    cursor: int
    subject: str
    issued_before: int
    until: int
    reason: str
    token_id: str | None = None


def open_store(place: Place, *, migrate: bool = True) -> Store:
    """Open a register.

    Args:
        place: A SQLite file, which is made with mode 0600 when missing, or a PostgreSQL database.
        migrate: Whether it is brought to the schema of this code; otherwise it has to be there.

    Raises:
        ConfigError: It cannot be opened, is readable by others, is no database, has an older
            schema and shall keep it, or was made by a newer Keyfob.
        UpstreamError: The PostgreSQL server does not answer.
    """
    return Store(open_database(place, migrate=migrate))


class Store:
    """One connection to the register; for one thread at a time.

    Reads are single statements. Whatever reads and then writes belongs into ``transaction``.

    Args:
        database: Where it is kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = database.connection
        self.keys = SigningKeyTable(database)
        self._before_commit: list[Callable[[], None]] = []

    @property
    def name(self) -> str:
        """What the database is called in messages."""
        return self._database.name

    @property
    def connection(self) -> Connection:
        """For the files beside this one that keep other things in the same database."""
        return self._connection

    def close(self) -> None:
        """Close the connection; closing it twice is allowed."""
        self._database.close()

    @contextmanager
    def transaction(self, *, beside: bytes | None = None) -> Iterator[None]:
        """Commit what happens inside as one, or nothing of it.

        Args:
            beside: What alone is read and written inside; see ``Database.transaction``.

        Raises:
            UpstreamError: The database stayed locked, is gone, or its disk is full.
        """
        with self._database.transaction(beside):
            yield
            works, self._before_commit = self._before_commit, []
            for work in works:
                work()

    @contextmanager
    def before_commit(self, work: Callable[[], None]) -> Iterator[None]:
        """Have something done in the next transaction that is committed inside, at its end."""
        self._before_commit.append(work)
        try:
            yield
        finally:
            self._before_commit = []

    def change_counter(self) -> int:
        """Return a number that changes whenever another connection commits."""
        return self._database.change_counter()

    # Clients

    def client(self, client_id: str) -> Client | None:
        """Return a client by name."""
        row = self._connection.execute(_CLIENT + "WHERE client_id = ?", (client_id,)).fetchone()
        return None if row is None else _client(row)

    def secret(self, client_id: str, *, now: float) -> StoredSecret | None:
        """Return what a client has to prove now."""
        row = self._connection.execute(
            "SELECT kind, secret_hash, jwks, metadata, old_secret_hash, old_secret_until,"
            " old_secret_ends_on_use FROM client WHERE client_id = ?",
            (client_id,),
        ).fetchone()
        if row is None:
            return None
        return StoredSecret(
            kind=_KINDS[row[0]],
            secret_hash=row[1],
            jwks=row[2],
            metadata=row[3],
            old_hash=row[4] if row[4] is not None and now < row[5] else None,
            old_ends_on_use=bool(row[6]),
        )

    def clients(self, kind: ClientKind) -> tuple[Client, ...]:
        """Return every client of a kind, by name."""
        rows = self._connection.execute(_CLIENT + "WHERE kind = ? ORDER BY client_id", (kind,))
        return tuple(map(_client, rows))

    def client_page(self, kind: ClientKind, *, after: str, limit: int) -> tuple[Client, ...]:
        """Return the clients of a kind that follow a name, by name."""
        rows = self._connection.execute(
            _CLIENT + "WHERE kind = ? AND client_id > ? ORDER BY client_id LIMIT ?",
            (kind, after, limit),
        )
        return tuple(map(_client, rows))

    def has_clients(self, kind: ClientKind) -> bool:
        """Say whether there is a client of a kind."""
        return bool(self._value("SELECT EXISTS (SELECT 1 FROM client WHERE kind = ?)", kind))

    def insert_client(self, client: Client) -> None:
        """Add a client that is enabled, or pending.

        Raises:
            ConflictError: There is a client of this name, of whatever kind.
        """
        known = self.client(client.client_id)
        if known is not None:
            raise ConflictError(f"there is a {known.kind} {client.client_id!r} already")
        self._connection.execute(
            "INSERT INTO client"
            " (client_id, kind, secret_hash, grants, scopes, lifetime, created_at, jwks, metadata,"
            " pending) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                client.client_id,
                client.kind,
                client.secret_hash,
                " ".join(client.grants),
                " ".join(client.scopes),
                client.lifetime,
                client.created_at,
                client.jwks,
                metadata_text(client.metadata),
                int(client.pending),
            ),
        )

    def delete_client(self, client_id: str) -> None:
        """Forget a client, and what it is in: a later one of this name starts with nothing."""
        set_groups(self._connection, client_id, ())
        set_labels(self._connection, client_id, {})
        self._connection.execute("DELETE FROM client WHERE client_id = ?", (client_id,))

    def set_disabled(self, client_id: str, at: float | None) -> None:
        """Disable a client (an earlier time stays), or enable or activate it with None."""
        if at is None:
            self._connection.execute(
                "UPDATE client SET disabled_at = NULL, pending = 0 WHERE client_id = ?",
                (client_id,),
            )
            return
        self._connection.execute(
            "UPDATE client SET disabled_at = coalesce(disabled_at, ?) WHERE client_id = ?",
            (at, client_id),
        )

    def set_grants(self, client_id: str, grants: tuple[str, ...]) -> None:
        """Replace the grant types that a client is registered for."""
        self._connection.execute(
            "UPDATE client SET grants = ? WHERE client_id = ?", (" ".join(grants), client_id)
        )

    def set_secret(self, client_id: str, secret_hash: str) -> None:
        """Replace the hash that a client's secret is compared with; see also ``old_secrets``."""
        self._connection.execute(
            "UPDATE client SET secret_hash = ?, old_secret_hash = NULL, old_secret_until = NULL,"
            " old_secret_ends_on_use = 0 WHERE client_id = ?",
            (secret_hash, client_id),
        )

    def set_lifetime(self, client_id: str, lifetime: int | None) -> None:
        """Say how long a client's tokens live; None leaves it to its groups or the server."""
        self._connection.execute(
            "UPDATE client SET lifetime = ? WHERE client_id = ?", (lifetime, client_id)
        )

    def set_jwks(self, client_id: str, jwks: str | None) -> None:
        """Replace a client's public keys."""
        self._connection.execute(
            "UPDATE client SET jwks = ? WHERE client_id = ?", (jwks, client_id)
        )

    def set_scopes(self, client_id: str, scopes: tuple[str, ...]) -> None:
        """Replace what a client's tokens may say."""
        self._connection.execute(
            "UPDATE client SET scopes = ? WHERE client_id = ?", (" ".join(scopes), client_id)
        )

    def set_metadata(self, client_id: str, metadata: ClientMetadata) -> None:
        """Replace what else a client is registered with."""
        self._connection.execute(
            "UPDATE client SET metadata = ? WHERE client_id = ?",
            (metadata_text(metadata), client_id),
        )

    def remove_secret(self, client_id: str) -> None:
        """Leave a client without a secret."""
        self._connection.execute(
            "UPDATE client SET secret_hash = NULL, old_secret_hash = NULL, old_secret_until = NULL,"
            " old_secret_ends_on_use = 0 WHERE client_id = ?",
            (client_id,),
        )

    def note_tokens(self, moments: Mapping[str, float]) -> None:
        """Write down when clients last got a token; those that are gone are passed over."""
        self._connection.executemany(
            "UPDATE client SET last_token_at = ? WHERE client_id = ?",
            # In one order for everybody, so that two who write some of the same rows never wait
            # for each other.
            [(at, client_id) for client_id, at in sorted(moments.items())],
        )

    # Revocations

    def revoke(
        self,
        subject: str,
        *,
        issued_before: int,
        until: int,
        reason: str,
        now: float,
        token_id: str | None = None,
    ) -> None:
        """Add a revocation, also of what was exchanged for the tokens that it concerns.

        Some of those that have stopped to matter are forgotten.
        """
        # A whole number as the column is: with a fraction PostgreSQL would use no index.
        self._connection.execute(_FORGET, (math.floor(now), _FORGOTTEN_AT_ONCE))
        self._connection.execute(
            "INSERT INTO revocation (subject, issued_before, until, reason, token_id)"
            " VALUES (?, ?, ?, ?, ?)",
            (subject, issued_before, until, reason, token_id),
        )
        end_exchanged(
            self,
            subject,
            token_id=token_id,
            issued_before=issued_before,
            reason=reason,
            now=now,
        )

    def is_token_revoked(self, *, subject: str, token_id: str, issued_at: int) -> bool:
        """Say whether a revocation concerns a token, alone or with others of its subject."""
        return bool(
            self._value(
                "SELECT EXISTS (SELECT 1 FROM revocation"
                "  WHERE subject = ? AND token_id IS NULL AND issued_before >= ?)"
                " OR EXISTS (SELECT 1 FROM revocation WHERE subject = ? AND token_id = ?)",
                *(subject, issued_at, subject, token_id),
            )
        )

    def count_revoked_tokens(self, subject: str, *, now: float) -> int:
        """Return how many tokens of a subject are revoked one by one, and still matter."""
        return int(
            self._value(
                "SELECT count(*) FROM revocation"
                " WHERE subject = ? AND token_id IS NOT NULL AND until > ?",
                *(subject, now),
            )
        )

    def revocations_after(
        self, cursor: int, *, now: float, limit: int
    ) -> tuple[StoredRevocation, ...]:
        """Return the revocations after a cursor that still matter, oldest first."""
        rows = self._connection.execute(
            "SELECT cursor, subject, issued_before, until, reason, token_id FROM revocation"
            " WHERE cursor > ? AND until > ? ORDER BY cursor LIMIT ?",
            (cursor, now, limit),
        )
        return tuple(map(_revocation, rows))

    def last_cursor(self) -> int:
        """Return the newest cursor ever given out; 0 for none."""
        return self._database.last_cursor()

    def _value(self, statement: str, *parameters: object) -> Any:  # noqa: ANN401 - one SQL value
        return self._connection.execute(statement, parameters).fetchone()[0]


def _client(row: tuple[Any, ...]) -> Client:
    return Client(
        client_id=row[0],
        kind=_KINDS[row[1]],
        secret_hash=row[2],
        grants=tuple(row[3].split()),
        scopes=tuple(row[4].split()),
        lifetime=row[5],
        enabled=row[6] is None and not row[12],
        created_at=row[7],
        last_token_at=row[8],
        revoked_through=row[9] or 0,
        jwks=row[10],
        metadata=read_metadata(row[11]),
        pending=bool(row[12]) and row[6] is None,
        groups=tuple(row[13].split()),
        old_hash=row[14],
    )


def _revocation(row: tuple[Any, ...]) -> StoredRevocation:
    return StoredRevocation(
        cursor=row[0],
        subject=row[1],
        issued_before=row[2],
        until=row[3],
        reason=row[4],
        token_id=row[5],
    )

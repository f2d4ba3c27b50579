# SPDX-License-Identifier: Apache-2.0
"""The register in one SQLite file, which the server and the command line share.

WAL, so that a reader never waits for a writer; ``synchronous=FULL``, so that what was committed
outlives a power cut (a revocation that an operator was told of must). Writers exclude each other
by ``BEGIN IMMEDIATE`` and wait for their turn. The file holds the private signing keys and is
readable by its owner only.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from keyfob.errors import ConfigError, ConflictError, UpstreamError
from keyfob.server.client_metadata import ClientMetadata, metadata_text, read_metadata
from keyfob.server.clients import Client, ClientKind, StoredSecret
from keyfob.server.stores.exchanged_tokens import end_exchanged
from keyfob.server.stores.placing import set_groups, set_labels
from keyfob.server.stores.schema import migrate
from keyfob.server.stores.signing_keys import SigningKeyTable

__all__ = ["SqliteStore", "StoredRevocation", "open_store"]

_BUSY_MS: Final = 5_000
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


def open_store(path: Path) -> SqliteStore:
    """Open a register, made with mode 0600 when missing, and bring it to the current schema.

    Raises:
        ConfigError: It cannot be opened, is readable by others, is no database, or was made by a
            newer Keyfob.
    """
    _ensure_private_file(path)
    try:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000
        )
    except sqlite3.Error as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        _use_write_ahead_log(connection)
        # secure_delete: no private key is left in a page that is free.
        for pragma in ("synchronous = FULL", "trusted_schema = OFF", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")
        migrate(connection)
    except (sqlite3.Error, ConfigError) as error:
        connection.close()
        raise ConfigError(f"{path}: {error}") from error
    return SqliteStore(path, connection)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Wait our turn too: for this one change SQLite does not, whatever its timeout is."""
    deadline = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _ensure_private_file(path: Path) -> None:
    try:
        # Only a file that is new is opened here. Closing any descriptor of a file drops all POSIX
        # locks that this process has on it (fcntl(2)): another process that closes its connection
        # would then take itself for the last one and remove the write-ahead log under us.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigError(f"{path}: others may open it, and it holds private keys: chmod 600 it")


class SqliteStore:
    """One connection to the register; for one thread at a time.

    Args:
        path: The file, for messages and for opening it again.
        connection: In autocommit mode, with the current schema.

    Attributes:
        keys: The signing keys.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self.keys = SigningKeyTable(connection)
        self._before_commit: list[Callable[[], None]] = []

    @property
    def connection(self) -> sqlite3.Connection:
        """For the files beside this one that keep other things in the same database."""
        return self._connection

    def close(self) -> None:
        """Close the connection; closing it twice is allowed."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what happens inside as one, or nothing of it.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
            works, self._before_commit = self._before_commit, []
            for work in works:
                work()
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise UpstreamError(f"{self.path}: {error}") from error
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

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
        return int(self._value("PRAGMA data_version"))

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
            kind=ClientKind(row[0]),
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
            [(at, client_id) for client_id, at in moments.items()],
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
        self._connection.execute(_FORGET, (now, _FORGOTTEN_AT_ONCE))
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
                "  WHERE subject = ?1 AND token_id IS NULL AND issued_before >= ?3)"
                " OR EXISTS (SELECT 1 FROM revocation WHERE subject = ?1 AND token_id = ?2)",
                *(subject, token_id, issued_at),
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
        return int(
            self._value("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name='revocation'")
        )

    def _value(self, statement: str, *parameters: object) -> Any:  # noqa: ANN401 - one SQL value
        return self._connection.execute(statement, parameters).fetchone()[0]


def _client(row: tuple[Any, ...]) -> Client:
    return Client(
        client_id=row[0],
        kind=ClientKind(row[1]),
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

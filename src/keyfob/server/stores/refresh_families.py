# SPDX-License-Identifier: Apache-2.0
"""Families of refresh tokens.

Each change is one transaction that reads the family, judges the token by ``standing`` and writes:
writers of one family exclude each other, so of any number of requests, in any number of processes,
one replaces a token and the others find it replaced. What a method returns is on the disk.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from keyfob.server.authorization_details import details_text, read_details
from keyfob.server.refresh_family import GRACE, Ended, Family, Seen, Standing, standing
from keyfob.server.refresh_token import RefreshToken
from keyfob.server.stores.connection import Connection
from keyfob.server.stores.device_codes import use_device_code
from keyfob.server.stores.reads import Reads
from keyfob.server.stores.store import Store
from keyfob.server.stores.writer import Writer

__all__ = [
    "MAX_FAMILIES",
    "StoredRefreshFamilies",
    "end_families",
    "end_families_by",
    "limit_families",
]

# Of one device through one application. A program that logs in at every start, and never uses what
# it got, would fill the disk otherwise; the family that was not used for the longest gives way,
# and before it those that have ended.
MAX_FAMILIES: Final = 16
_MANY: Final = 1_000_000
_COLUMNS: Final = (
    "family_id, client_id, subject, scopes, family_key, counter, digest, previous, rotated_at,"
    " expires_at, ends_at, ended, jkt, certificate, audience, details"
)
_FIND: Final = f"SELECT {_COLUMNS} FROM refresh_family WHERE family_id = ?"  # noqa: S608
# A login counts only as long as both clients are as they were: what disables or removes one, or
# changes the secret, has ended the families that it saw, and must not miss this one. By an old
# secret that still works it lasts as long as that does.
_ENDS_BY: Final = """
       CASE WHEN device.old_secret_hash = :secret_hash AND device.old_secret_until < {0}
            THEN device.old_secret_until ELSE {0} END"""
_ADD: Final = f"""
INSERT INTO refresh_family ({_COLUMNS}, secret_hash)
SELECT :family_id, :client_id, :subject, :scopes, :key, :counter, :digest, NULL, :rotated_at,
       {_ENDS_BY.format(":expires_at")},
       {_ENDS_BY.format(":ends_at")}, '', :jkt, :certificate, :audience, :details,
       :secret_hash
FROM client AS device
WHERE device.client_id = :subject AND device.disabled_at IS NULL
  AND (CAST(:secret_hash AS TEXT) IS NULL OR device.secret_hash = :secret_hash
       OR (device.old_secret_hash = :secret_hash AND device.old_secret_until > :rotated_at))
  AND EXISTS (SELECT 1 FROM client WHERE client_id = :client_id AND disabled_at IS NULL)
  AND NOT EXISTS (
    SELECT 1 FROM revocation
    WHERE subject = :subject AND token_id IS NULL AND issued_before >= :issued_at)
"""  # noqa: S608
_TRIM: Final = """
DELETE FROM refresh_family WHERE family_id IN (
  SELECT family_id FROM refresh_family
  WHERE subject = :subject AND client_id = :client_id AND family_id != :family_id
  ORDER BY ended != '', rotated_at DESC, family_id LIMIT :most OFFSET :others)
"""
_ROTATE: Final = """
UPDATE refresh_family
SET counter = counter + 1, previous = digest, digest = :next, rotated_at = :now,
    expires_at = CASE WHEN :idle_until < ends_at THEN :idle_until ELSE ends_at END
WHERE family_id = :family_id AND counter = :counter AND digest = :digest AND ended = ''
"""
_END: Final = "UPDATE refresh_family SET ended = ? WHERE family_id = ? AND ended = ''"


class StoredRefreshFamilies:
    """The families, as the server uses them while it serves.

    Args:
        reads: Where they are read.
        writer: The thread that writes.
        grace: Seconds in which the token before the current one may come again.
    """

    def __init__(self, reads: Reads, writer: Writer, *, grace: float = GRACE) -> None:
        self._reads = reads
        self._writer = writer
        self._grace = grace

    async def look(self, token: RefreshToken, client_id: str, *, now: float) -> Seen:
        """Say what a token is now, and of which family; changes nothing."""
        family = await self._reads.run(lambda store: _find(store.connection, token.family_id))
        found = standing(family, token, client_id=client_id, now=now, grace=self._grace)
        return Seen(found, None if found is Standing.UNKNOWN else family)

    async def add(
        self,
        family: Family,
        *,
        issued_at: int,
        secret_hash: str | None,
        device_code: bytes | None = None,
    ) -> bool:
        """Keep a new family; False where its device, secret or client was ended meanwhile.

        Args:
            family: With its first token.
            issued_at: The ``iat`` of the access token that is issued with it.
            secret_hash: Of the device's secret that the login proved; None where it was none.
            device_code: Of the code that is used up by it, in the same transaction.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        return await self._writer.run(
            lambda store: (
                (
                    device_code is None
                    or use_device_code(
                        store.connection, device_code, family.client_id, family.rotated_at
                    )
                )
                and _add(
                    store.connection, family, {"issued_at": issued_at, "secret_hash": secret_hash}
                )
            )
        )

    async def use_device_code(self, device_code: bytes, client_id: str, *, now: float) -> bool:
        """Use a device code up; False where there is no approval any more.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        return await self._writer.run(
            lambda store: use_device_code(store.connection, device_code, client_id, now)
        )

    async def use(
        self, token: RefreshToken, client_id: str, *, now: float, idle: float
    ) -> RefreshToken | Standing:
        """Replace a token and return its successor; end the family of one that was replaced.

        Args:
            token: What was presented.
            client_id: Who presented it, authenticated.
            now: When, in Unix seconds.
            idle: Seconds until the successor has to be used.

        Returns:
            The successor, or what the token is where it is not good.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full; nothing was changed.
        """
        return await self._writer.run(
            lambda store: _use(
                store.connection, token, client_id, now=now, idle=idle, grace=self._grace
            ),
            beside=token.family_id,
        )

    async def end(self, token: RefreshToken, client_id: str, reason: str) -> Ended | None:
        """End the family of a token, old or new, for the client it was issued to or its device.

        Returns:
            Whose it is and whether it was ended; None for a token that is not ours.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        return await self._writer.run(
            lambda store: _end(store.connection, token, client_id, reason),
            beside=token.family_id,
        )


def end_families(store: Store, subject: str, reason: str) -> None:
    """End the families of a device, within the caller's transaction."""
    store.connection.execute(
        "UPDATE refresh_family SET ended = ? WHERE subject = ? AND ended = ''", (reason, subject)
    )


def end_families_by(connection: Connection, subject: str, secret_hash: str) -> None:
    """End the families of a device that were begun with a secret, within a transaction."""
    connection.execute(
        "UPDATE refresh_family SET ended = 'secret_changed'"
        " WHERE subject = ? AND secret_hash = ? AND ended = ''",
        (subject, secret_hash),
    )


def limit_families(connection: Connection, subject: str, until: float) -> None:
    """Let the families that a device has now end at some time at the latest."""
    connection.execute(
        "UPDATE refresh_family"
        " SET ends_at = CASE WHEN ends_at > :until THEN :until ELSE ends_at END,"
        " expires_at = CASE WHEN expires_at > :until THEN :until ELSE expires_at END"
        " WHERE subject = :subject AND ended = ''",
        {"until": until, "subject": subject},
    )


def _find(connection: Connection, family_id: bytes) -> Family | None:
    row = connection.execute(_FIND, (family_id,)).fetchone()
    return None if row is None else _family(row)


def _add(connection: Connection, family: Family, login: Mapping[str, object]) -> bool:
    connection.execute("DELETE FROM refresh_family WHERE ends_at <= ?", (family.rotated_at,))
    values: dict[str, object] = {
        "family_id": family.family_id,
        "client_id": family.client_id,
        "subject": family.subject,
        "scopes": " ".join(family.scopes),
        "key": family.key,
        "counter": family.counter,
        "digest": family.digest,
        "rotated_at": family.rotated_at,
        "expires_at": family.expires_at,
        "ends_at": family.ends_at,
        "certificate": family.certificate,
        "jkt": family.jkt,
        "audience": json.dumps(family.audience) if family.audience else "",
        "details": details_text(family.details),
        **login,
    }
    if connection.execute(_ADD, values).rowcount == 0:
        return False
    connection.execute(_TRIM, values | {"others": MAX_FAMILIES - 1, "most": _MANY})
    return True


def _use(
    connection: Connection,
    token: RefreshToken,
    client_id: str,
    *,
    now: float,
    idle: float,
    grace: float,
) -> RefreshToken | Standing:
    family = _find(connection, token.family_id)
    found = standing(family, token, client_id=client_id, now=now, grace=grace)
    if found is Standing.REUSED:
        connection.execute(_END, ("reused", token.family_id))
    if family is None or not found.good:
        return found
    successor = token.successor(family.key)
    if found is Standing.CURRENT:
        values = {
            "family_id": family.family_id,
            "counter": family.counter,
            "digest": family.digest,
            "next": successor.digest,
            "now": now,
            "idle_until": now + idle,
        }
        if connection.execute(_ROTATE, values).rowcount != 1:
            raise AssertionError("a family changed within a transaction")
    return successor


def _end(connection: Connection, token: RefreshToken, client_id: str, reason: str) -> Ended | None:
    family = _find(connection, token.family_id)
    if family is None or not token.made_with(family.key):
        return None
    done = client_id in (family.client_id, family.subject)
    if done:
        connection.execute(_END, (reason, family.family_id))
    return Ended(family.subject, done=done)


def _family(row: tuple[Any, ...]) -> Family:
    return Family(
        family_id=row[0],
        client_id=row[1],
        subject=row[2],
        scopes=tuple(row[3].split()),
        key=row[4],
        counter=row[5],
        digest=row[6],
        previous=row[7],
        rotated_at=row[8],
        expires_at=row[9],
        ends_at=row[10],
        ended=row[11],
        jkt=row[12],
        certificate=row[13],
        audience=tuple(json.loads(row[14])) if row[14] else (),
        details=read_details(row[15]),
    )

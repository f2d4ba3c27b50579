# SPDX-License-Identifier: Apache-2.0
"""Requests of the device authorization grant, in the register.

Each change of state is one compare-and-set: of any number of approvers, and of any number of polls
in any number of processes, one succeeds. An approval is committed with its line in the trail.
"""

from __future__ import annotations

from typing import Any, Final

from keyfob.server.device_flow import DeviceRequest, State, slower
from keyfob.server.stores.admin_actions import AdminAction, insert_action
from keyfob.server.stores.connection import Connection
from keyfob.server.stores.reads import Reads, read_row
from keyfob.server.stores.writer import Writer

__all__ = [
    "MAX_OPEN",
    "MAX_OPEN_OF_CLIENT",
    "MAX_OPEN_OF_NETWORK",
    "StoredDeviceCodes",
    "forget_codes_of",
    "use_device_code",
    "withdraw_approvals",
]

# Requests that wait for a person or for their client. Anybody can make some for a public client:
# one network fills up its own share, and a client the rest of what one client may have.
MAX_OPEN_OF_NETWORK: Final = 50
MAX_OPEN_OF_CLIENT: Final = 2_000
MAX_OPEN: Final = 10_000
# So long after its end a code is still known, so that its client learns what it was.
_KEPT: Final = 600
_COLUMNS: Final = (
    "code_hash, user_hash, client_id, peer, network, scope, hint, created_at, expires_at,"
    " poll_interval, state, subject, scopes, decided_by, decided_at"
)
_FIND: Final = f"SELECT {_COLUMNS} FROM device_code WHERE code_hash = ?"  # noqa: S608
_FIND_BY_USER_CODE: Final = f"SELECT {_COLUMNS} FROM device_code WHERE user_hash = ?"  # noqa: S608
_COUNT: Final = """
SELECT count(*),
       coalesce(sum(CASE WHEN client_id = :client_id THEN 1 ELSE 0 END), 0),
       coalesce(sum(CASE WHEN client_id = :client_id AND network = :network
                         THEN 1 ELSE 0 END), 0)
FROM device_code WHERE expires_at > :now AND state IN ('pending', 'approved')
"""
_ADD: Final = f"""
INSERT INTO device_code ({_COLUMNS})
VALUES (:code_hash, :user_hash, :client_id, :peer, :network, :scope, :hint, :created_at,
        :expires_at, :poll_interval, 'pending', '', '', '', 0)
ON CONFLICT (user_hash) DO NOTHING
"""  # noqa: S608
# The approver must still be signed in: whose password went while this waited for the database
# decides nothing any more. The device must still be allowed to have something.
_DECIDE: Final = """
UPDATE device_code
SET state = :state, subject = :subject, scopes = :scopes, decided_by = :operator, decided_at = :now
WHERE code_hash = :code_hash AND state = 'pending' AND expires_at > :now
  AND EXISTS (SELECT 1 FROM operator_session s JOIN operator_account a ON a.name = s.operator
              WHERE s.token_hash = :session AND a.name = :operator)
  AND (:state = 'denied' OR EXISTS (
        SELECT 1 FROM client
        WHERE client_id = :subject AND kind = 'device'
          AND disabled_at IS NULL AND pending = 0))
"""
_SLOW_DOWN: Final = """
UPDATE device_code SET poll_interval = :next WHERE code_hash = :code_hash AND poll_interval < :next
"""
_USE: Final = """
UPDATE device_code SET state = 'used'
WHERE code_hash = ? AND client_id = ? AND state = 'approved' AND expires_at > ?
"""


class StoredDeviceCodes:
    """The requests, as the server uses them while it serves.

    Args:
        reads: Where they are read.
        writer: Where writes take their turn.
    """

    def __init__(self, reads: Reads, writer: Writer) -> None:
        self._reads = reads
        self._writer = writer

    async def find(self, code_hash: bytes) -> DeviceRequest | None:
        """Return the request of a device code."""
        return _found(await read_row(self._reads, _FIND, (code_hash,)))

    async def find_by_user_code(self, user_hash: bytes) -> DeviceRequest | None:
        """Return the request of a user code."""
        return _found(await read_row(self._reads, _FIND_BY_USER_CODE, (user_hash,)))

    async def add(self, request: DeviceRequest) -> str:
        """Keep a new request.

        Returns:
            Empty, or why not: ``user_code_taken``, or which of the bounds is reached.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        return await self._writer.run(lambda store: _add(store.connection, request))

    async def slow_down(self, code_hash: bytes, interval: int) -> None:
        """Write down that a client has to wait for longer than ``interval`` from now on.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        values = {"code_hash": code_hash, "next": slower(interval)}
        await self._writer.run(lambda store: store.connection.execute(_SLOW_DOWN, values).rowcount)

    async def decide(self, request: DeviceRequest, action: AdminAction, *, session: bytes) -> bool:
        """Approve or deny a pending request, with the line of the trail that says so.

        Args:
            request: As it shall be from now on.
            action: The line.
            session: Of the operator: the hash of its token.

        Returns:
            False where it is not pending any more, or who or what it names is gone, or the session.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full; nothing was changed.
        """
        return await self._writer.run(
            lambda store: _decide(store.connection, request, action, session)
        )

    async def use(self, code_hash: bytes, client_id: str, now: float) -> bool:
        """Use an approval up; False where there is none any more.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full.
        """
        return await self._writer.run(
            lambda store: use_device_code(store.connection, code_hash, client_id, now)
        )


def use_device_code(connection: Connection, code_hash: bytes, client_id: str, now: float) -> bool:
    """Use an approval up within the caller's transaction, with what is issued for it."""
    return connection.execute(_USE, (code_hash, client_id, now)).rowcount == 1


def withdraw_approvals(connection: Connection, operator: str) -> None:
    """Take back what an operator approved and nobody has collected, in the caller's transaction."""
    connection.execute(
        "UPDATE device_code SET state = 'denied' WHERE decided_by = ? AND state = 'approved'",
        (operator,),
    )


def forget_codes_of(connection: Connection, client_id: str) -> None:
    """Forget the requests of an application, in the caller's transaction."""
    connection.execute("DELETE FROM device_code WHERE client_id = ?", (client_id,))


def _add(connection: Connection, request: DeviceRequest) -> str:
    connection.execute(
        "DELETE FROM device_code WHERE expires_at <= ?", (request.created_at - _KEPT,)
    )
    values: dict[str, object] = {
        "code_hash": request.code_hash,
        "user_hash": request.user_hash,
        "client_id": request.client_id,
        "peer": request.peer,
        "network": request.network,
        "scope": request.scope,
        "hint": request.hint,
        "created_at": request.created_at,
        "expires_at": request.expires_at,
        "poll_interval": request.interval,
    }
    bounded = {"client_id": request.client_id, "network": request.network}
    counted = connection.execute(_COUNT, bounded | {"now": request.created_at}).fetchone()
    in_all, of_client, of_network = map(int, counted)
    if of_network >= MAX_OPEN_OF_NETWORK:
        return "limit_device_codes_of_network"
    if of_client >= MAX_OPEN_OF_CLIENT:
        return "limit_device_codes_of_client"
    if in_all >= MAX_OPEN:
        return "limit_device_codes"
    return "" if connection.execute(_ADD, values).rowcount == 1 else "user_code_taken"


def _decide(
    connection: Connection, request: DeviceRequest, action: AdminAction, session: bytes
) -> bool:
    values = {
        "code_hash": request.code_hash,
        "state": request.state.value,
        "subject": request.subject,
        "scopes": " ".join(request.scopes),
        "operator": request.decided_by,
        "session": session,
        "now": request.decided_at,
    }
    if connection.execute(_DECIDE, values).rowcount != 1:
        return False
    insert_action(connection, action)
    return True


def _found(row: tuple[Any, ...] | None) -> DeviceRequest | None:
    if row is None:
        return None
    return DeviceRequest(
        code_hash=row[0],
        user_hash=row[1],
        client_id=row[2],
        peer=row[3],
        network=row[4],
        scope=row[5],
        hint=row[6],
        created_at=row[7],
        expires_at=row[8],
        interval=row[9],
        state=State(row[10]),
        subject=row[11],
        scopes=tuple(row[12].split()),
        decided_by=row[13],
        decided_at=row[14],
    )

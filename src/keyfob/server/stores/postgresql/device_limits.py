# SPDX-License-Identifier: Apache-2.0
"""The limits of the device authorization grant, counted for all servers on one database."""

from __future__ import annotations

from typing import Final

from keyfob.server.device_flow import MAX_INTERVAL
from keyfob.server.device_limits import WRONG_A_SECOND, WRONG_AT_ONCE
from keyfob.server.stores.reads import Reads
from keyfob.server.stores.store import Store

__all__ = ["PostgresqlPollTimes", "PostgresqlWrongCodes"]

# Nobody has to wait for longer than MAX_INTERVAL: an older poll says nothing any more.
_KEPT: Final = 10 * MAX_INTERVAL
# The row is locked by whoever is first, and the second reads what the first one wrote.
_POLLED: Final = """
INSERT INTO device_poll AS p (code_hash, at) VALUES (:code_hash, :now)
ON CONFLICT (code_hash) DO UPDATE SET previous = p.at, at = excluded.at
RETURNING previous
"""
_FORGET: Final = """
DELETE FROM device_poll WHERE code_hash IN (
  SELECT code_hash FROM device_poll WHERE at < :before FOR UPDATE SKIP LOCKED)
"""
_MOMENT: Final = "extract(epoch FROM clock_timestamp())::float8"
_WAIT: Final = f"SELECT allowance_wait('codes', 'all', {_MOMENT})"
_TAKE: Final = f"SELECT allowance_take('codes', 'all', :rate, :most, {_MOMENT})"


class PostgresqlPollTimes:
    """A ``PollTimes``: one statement for a poll, and no flush of the disk.

    Args:
        reads: Threads with connections; each statement commits by itself.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def polled(self, code_hash: bytes, now: float) -> float | None:
        """Note a poll, and return when the one before was; None where none is known of."""

        def work(store: Store) -> float | None:
            values = {"code_hash": code_hash, "now": now}
            before: float | None = store.connection.execute(_POLLED, values).fetchone()[0]
            if before is None:  # once for each code
                store.connection.execute(_FORGET, {"before": now - _KEPT})
            return before

        return await self._reads.run(work)


class PostgresqlWrongCodes:
    """A ``WrongCodes``; the time is the database's own.

    Args:
        reads: Threads with connections; each statement commits by itself.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def wait(self) -> float:
        """Return the seconds until there is one left; 0 where there is."""
        return await self._reads.run(
            lambda store: float(store.connection.execute(_WAIT).fetchone()[0])
        )

    async def take(self) -> None:
        """Spend one, where there is one."""
        values = {"rate": WRONG_A_SECOND, "most": float(WRONG_AT_ONCE)}
        await self._reads.run(lambda store: store.connection.execute(_TAKE, values).fetchone())

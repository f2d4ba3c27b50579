# SPDX-License-Identifier: Apache-2.0
"""The receivers of security events as the running server reads and writes them."""

from __future__ import annotations

import time

from keyfob.errors import UpstreamError
from keyfob.server.events.receiver import PendingEvent, Receiver, ReceiverStatus
from keyfob.server.stores.event_receivers import ReceiverTable, Turn, TurnTaken
from keyfob.server.stores.reads import Reads
from keyfob.server.stores.store import Store
from keyfob.server.stores.writer import Writer

__all__ = ["ServingReceivers"]


class ServingReceivers:
    """The tables as the running server uses them.

    Args:
        reads: Where they are read.
        writer: Where writes take their turn.
    """

    def __init__(self, reads: Reads, writer: Writer) -> None:
        self._reads = reads
        self._writer = writer

    async def receivers(self) -> tuple[Receiver, ...]:
        """Return every receiver."""
        return await self._reads.run(lambda store: ReceiverTable(store).all())

    async def change_counter(self) -> int:
        """Return a number that changes whenever another connection commits."""
        return await self._reads.change_counter()

    async def has_new(self, name: str) -> bool:
        """Say whether something was revoked that is not taken up yet."""
        return await self._reads.run(lambda store: ReceiverTable(store).has_new(name))

    async def next_due(self, name: str, *, now: float) -> float | None:
        """Return when the first event of any device may be tried again; None: there is none."""
        return await self._reads.run(lambda store: ReceiverTable(store).next_due(name, now=now))

    async def heads(self, name: str, *, now: float, limit: int) -> tuple[PendingEvent, ...]:
        """Return the first event of each device that may be tried now, oldest first."""
        return await self._reads.run(
            lambda store: ReceiverTable(store).heads(name, now=now, limit=limit)
        )

    async def turn(self, turn: Turn) -> TurnTaken:
        """Take one turn, committed when this returns.

        Raises:
            UpstreamError: The database stayed locked, or the disk is full; nothing was written.
        """
        return await self._writer.run(lambda store: ReceiverTable(store).turn(turn))

    async def release(self, name: str, owner: str) -> None:
        """Let another process deliver at once."""
        await self._writer.run(lambda store: ReceiverTable(store).release(name, owner))

    async def statuses(self) -> dict[str, ReceiverStatus]:
        """Return how the deliveries to each receiver go, for the metrics; nothing without them."""
        now = time.time()
        try:
            return await self._reads.run(lambda store: _statuses(store, now))
        except UpstreamError:
            return {}


def _statuses(store: Store, now: float) -> dict[str, ReceiverStatus]:
    table = ReceiverTable(store)
    every = {one.name: table.status(one.name, now=now) for one in table.all()}
    return {name: status for name, status in every.items() if status is not None}

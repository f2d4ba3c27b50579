# SPDX-License-Identifier: Apache-2.0
"""The signing keys behind the asynchronous Protocol that the key ring names."""

from __future__ import annotations

from keyfob.server.signing.timetable import Change, StoredKey
from keyfob.server.stores.reads import Reads
from keyfob.server.stores.writer import Writer

__all__ = ["ServingKeys"]


class ServingKeys:
    """The table behind the asynchronous Protocol of the key ring.

    Args:
        reads: Where it is read.
        writer: Makes the changes.
    """

    def __init__(self, reads: Reads, writer: Writer) -> None:
        self._reads = reads
        self._writer = writer

    async def signing_keys(self) -> tuple[StoredKey, ...]:
        """Return every key."""
        return await self._reads.run(lambda store: store.keys.all())

    async def change_signing_keys(self, change: Change, new: StoredKey | None) -> bool:
        """Make one change, or nothing where somebody else was faster; say which."""
        return await self._writer.run(lambda store: store.keys.change(change, new))

# SPDX-License-Identifier: Apache-2.0
"""When each device last got a token, written down in batches.

It tells an operator which devices are alive. No answer depends on it, so nobody waits for it: a
crash loses the last half minute of it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Final

from keyfob.errors import KeyfobError
from keyfob.server.stores.writer import Writer

__all__ = ["LastTokens"]

_SECONDS: Final = 30.0


class LastTokens:
    """Collects moments and hands them to the writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._pending: dict[str, float] = {}

    def note(self, client_id: str, at: float) -> None:
        """Remember that a device got a token."""
        self._pending[client_id] = at

    async def flush(self) -> None:
        """Write down what was collected; where the database fails, it stays for the next time."""
        batch, self._pending = self._pending, {}
        if not batch:
            return
        try:
            await self._writer.run(lambda store: store.note_tokens(batch), beside=b"last tokens")
        except (KeyfobError, sqlite3.Error):
            self._pending = batch | self._pending

    async def run(self) -> None:
        """Flush at intervals until cancelled."""
        while True:
            await asyncio.sleep(_SECONDS)
            await self.flush()

    async def close(self) -> None:
        """Write down the rest and close the writer."""
        try:
            await self.flush()
        finally:
            self._writer.close()

# SPDX-License-Identifier: Apache-2.0
"""What is on its way to one plugin: in order, lazily where it is much, and bounded.

An END must never overtake the RECORD of the session that it ends, or the plugin would take the
session up again. So while a long answer is being written, everything else waits behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Final

from keyfob.errors import ProtocolError

__all__ = ["LIMIT", "Outbox"]

LIMIT: Final = 16 * 1024 * 1024
"""Bytes that may wait for a plugin: the ENDs of some 200,000 clients that are revoked at once. One
that lets more gather does not read; it gets everything when it opens a new link."""

_CHUNK: Final = 256  # frames that are made at a time
_HIGH_WATER: Final = 256 * 1024


class Outbox:
    """Writes to a transport, whose protocol passes ``pause`` and ``resume`` on.

    Args:
        transport: Where to write.
        limit: How many bytes may wait.
    """

    def __init__(self, transport: asyncio.WriteTransport, limit: int = LIMIT) -> None:
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._transport = transport
        self._limit = limit
        self._paused = False
        self._long: Iterator[bytes] | None = None
        self._behind: list[bytes] = []
        self._behind_size = 0

    def send(self, data: bytes) -> None:
        """Write ``data`` behind everything that was sent before.

        Raises:
            ProtocolError: The plugin does not read: too much waits for it.
        """
        if self._long is None:
            self._transport.write(data)
        else:
            self._behind.append(data)
            self._behind_size += len(data)
        if self._transport.get_write_buffer_size() + self._behind_size > self._limit:
            raise ProtocolError("the plugin does not read what it is sent")

    def send_long(self, frames: Iterator[bytes]) -> None:
        """Write ``frames`` as the plugin reads them: they are made when there is room for them.

        To be called once, and before anything that must come behind it.
        """
        self._long = frames
        self._pump()

    def pause(self) -> None:
        """The transport's buffer is full."""
        self._paused = True

    def resume(self) -> None:
        """The transport's buffer has room again."""
        self._paused = False
        self._pump()

    def _pump(self) -> None:
        while self._long and not self._paused and not self._transport.is_closing():
            chunk = b"".join(islice(self._long, _CHUNK))
            if chunk:
                self._transport.write(chunk)
                continue
            self._long = None
            behind, self._behind, self._behind_size = self._behind, [], 0
            self._transport.write(b"".join(behind))

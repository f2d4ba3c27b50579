# SPDX-License-Identifier: Apache-2.0
"""Whether the server can issue tokens now, and what keeps it from that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from keyfob.errors import KeyfobError

__all__ = ["Readiness", "ReadyStore"]

# Anybody may ask, and each look is a write: one in so many seconds is enough.
_SECONDS: Final = 5.0


class ReadyStore(Protocol):
    """What readiness needs of the register. Every method raises UpstreamError when it fails."""

    async def has_signing_key(self) -> bool:
        """Read whether there is a key to sign with."""

    async def write_probe(self) -> None:
        """Write something that nobody needs, and commit it."""


class Readiness:
    """Looks whether what issuing takes is there.

    Args:
        store: The register.
        can_sign: Says whether this process has the key that signs now.
        stopping: Set when the server ends.
        clock: Seconds that never step back.
    """

    def __init__(
        self,
        store: ReadyStore,
        can_sign: Callable[[], bool],
        stopping: asyncio.Event,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._can_sign = can_sign
        self._stopping = stopping
        self._clock = clock
        self._looking = asyncio.Lock()
        self._seen: tuple[str, ...] = ()
        self._seen_at: float | None = None

    async def faults(self) -> tuple[str, ...]:
        """Return what is wrong, as words for a machine; nothing where tokens can be issued."""
        if self._stopping.is_set():  # a load balancer shall send the next request elsewhere
            return ("stopping",)
        async with self._looking:
            now = self._clock()
            if self._seen_at is None or now - self._seen_at >= _SECONDS:
                self._seen = await self._look()
                self._seen_at = self._clock()  # a look at a locked register takes seconds
        return self._seen

    async def _look(self) -> tuple[str, ...]:
        faults = []
        try:
            if not await self._store.has_signing_key():
                faults.append("signing_key_missing")
            elif not self._can_sign():
                faults.append("signing_key_unreadable")
        except KeyfobError:
            faults.append("register_unreadable")
        try:
            await self._store.write_probe()
        except KeyfobError:
            faults.append("register_unwritable")
        return tuple(faults)

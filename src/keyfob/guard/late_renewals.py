# SPDX-License-Identifier: Apache-2.0
"""Re-authentications that could not be decided about in time, until they can be.

The broker has answered its client long since: the connection goes on, as it was (ADR 22). What the
issuer says at last counts nevertheless, for the same connection and as long as it has not shown
another token (ADR 28).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from keyfob.authorization.decision import Decision
from keyfob.guard.renewal import Renewal

__all__ = ["LATEST", "MAX_LATE", "LateRenewals"]

LATEST: Final = 60.0
"""Seconds that a late answer is waited for: as long as a client may take for its part."""

MAX_LATE: Final = 1024
"""Renewals of a guard that wait; each holds a token. Beyond that none is waited for any more."""

Answer = Callable[[], Awaitable[Decision | None]]
_Key = tuple[str, str]


class LateRenewals:
    """Waits for what comes late; used in one event loop.

    Args:
        settle: Does what is decided at last.
        size: How many may wait.
    """

    def __init__(
        self, settle: Callable[[Renewal, Decision], None], *, size: int = MAX_LATE
    ) -> None:
        self._settle = settle
        self._size = size
        self._waiting: dict[_Key, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, renewal: Renewal, answer: Answer) -> None:
        """Wait for a decision, in the place of an earlier one of the same client.

        Args:
            renewal: Whose connection is to go on.
            answer: Decides, however long that takes; None: there will be no decision.
        """
        key = (renewal.broker, renewal.client_id)
        self.forget(*key)
        if len(self._waiting) >= self._size:
            return
        task = asyncio.create_task(self._wait(renewal, answer), name="a late renewal")
        self._waiting[key] = task
        task.add_done_callback(lambda done: self._waited(key, done))

    def forget(self, broker: str, client_id: str) -> None:
        """Wait no more for a client: it shows another token."""
        if (task := self._waiting.pop((broker, client_id), None)) is not None:
            task.cancel()

    def forget_all(self, broker: str | None = None) -> None:
        """Wait no more for the clients of a broker, whose link is gone; None: of any."""
        for key in tuple(self._waiting):
            if broker in (None, key[0]):
                self.forget(*key)

    async def _wait(self, renewal: Renewal, answer: Answer) -> None:
        decision = await answer()
        if decision is not None:
            self._settle(renewal, decision)

    def _waited(self, key: _Key, task: asyncio.Task[None]) -> None:
        if self._waiting.get(key) is task:
            del self._waiting[key]

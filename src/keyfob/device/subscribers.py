# SPDX-License-Identifier: Apache-2.0
"""Who is told of each new token."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from keyfob.device.token import Token

__all__ = ["Renewed", "Subscribers"]

_log = logging.getLogger("keyfob.device")

Renewed = Callable[[Token], object]
"""Is told of each new token, in the thread that fetched it."""


class Subscribers:
    """Those who want to know; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: dict[object, Renewed] = {}

    def add(self, renewed: Renewed) -> Callable[[], None]:
        """Add one.

        Returns:
            What takes it away again.
        """
        ticket = object()
        with self._lock:
            self._all[ticket] = renewed

        def remove() -> None:
            with self._lock:
                self._all.pop(ticket, None)

        return remove

    def forked(self) -> None:
        """Be free in a forked process: whoever held the lock is not there."""
        self._lock = threading.Lock()

    def tell(self, token: Token) -> None:
        """Tell all of them; one that fails keeps nobody else from hearing it."""
        with self._lock:
            told = tuple(self._all.values())
        for each in told:
            try:
                each(token)
            except Exception as error:  # noqa: BLE001 - somebody else's
                # Not what it says: the token may be in it.
                said = "who was told of a new token failed: %s"
                _log.error(said, type(error).__name__)

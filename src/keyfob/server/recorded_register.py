# SPDX-License-Identifier: Apache-2.0
"""What every register is that operators change: over an open store, with who changed what."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from keyfob.server.admin_trail import os_user, recorded
from keyfob.server.stores.store import Store

__all__ = ["RecordedRegister"]


class RecordedRegister:
    """A part of the register; a context manager that closes its database.

    Args:
        store: An open store, which ``close`` closes.
        clock: Unix seconds; tests give their own.
        actor: Who changes it, for the trail; None: the operating system's user.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = time.time,
        actor: str | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._actor = os_user() if actor is None else actor

    def close(self) -> None:
        """Close the database."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _recorded(self, action: str, subject: str) -> AbstractContextManager[None]:
        """Write down what is done inside; see ``admin_trail.recorded``."""
        return recorded(self._store, action, subject, actor=self._actor, clock=self._clock)

# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is to renew: one thread's, of one process's, among those who share a store.

A refresh token that two of them spend at once looks like a stolen one, and costs the family
(RFC 9700 section 4.14.2).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

from keyfob.device.forks import after_fork
from keyfob.errors import TokenUnavailableError

try:
    import fcntl
except ImportError:  # no POSIX: then one process has the store to itself
    fcntl = None  # type: ignore[assignment]

__all__ = ["TURN_PATIENCE", "TURN_POLL", "FileTurn", "ThreadTurn", "Turn", "endless", "in_turn"]

TURN_POLL: Final = 0.05
"""Seconds between two looks whether another process has renewed."""

TURN_PATIENCE: Final = 60.0
"""Seconds to wait for it: longer than a renewal takes, unless a person has to approve it."""


class Turn(Protocol):
    """The right to renew."""

    def take(self) -> bool:
        """Take it if nobody has it; never waits.

        Raises:
            OSError: It cannot be told who has it.
        """

    def give_back(self) -> None:
        """Let the next one have it; nothing where it was not taken."""


class ThreadTurn:
    """The turn of those who share a lock.

    Args:
        lock: That lock.
    """

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._taken = False

    def take(self) -> bool:
        """Take it if nobody has it."""
        self._taken = self._lock.acquire(blocking=False)
        return self._taken

    def give_back(self) -> None:
        """Let the next one have it."""
        if self._taken:
            self._taken = False
            self._lock.release()


class FileTurn:
    """The turn of all processes that lock a file; who dies gives it back.

    Args:
        path: The file; it is made, and stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None
        after_fork(self)

    def take(self) -> bool:
        """Take it if nobody has it.

        Raises:
            OSError: The file cannot be opened.
        """
        # A link in the way would have us lock, and change the mode of, what somebody else chose.
        extra = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | extra, 0o600)
        if fcntl is not None:
            with suppress(OSError):  # somebody else's file; a umask may have taken from ours
                os.fchmod(handle, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(handle)
                if isinstance(error, BlockingIOError):
                    return False
                raise
        self._handle = handle
        return True

    def give_back(self) -> None:
        """Let the next one have it."""
        handle, self._handle = self._handle, None
        if handle is None:
            return
        try:
            if fcntl is not None:
                # Closing does not do it where the process has forked meanwhile.
                fcntl.flock(handle, fcntl.LOCK_UN)
        finally:
            os.close(handle)

    def forked(self) -> None:
        """Have no part in it in the child, which would keep it for as long as that lives."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)  # which takes nothing from the parent


@contextmanager
def in_turn(turn: Turn) -> Iterator[None]:
    """Wait for a turn, in this thread, and have it for a while.

    Raises:
        OSError: It cannot be told who has it.
        TokenUnavailableError: Whoever has it does not come to an end.
    """
    for _ in range(round(TURN_PATIENCE / TURN_POLL)):
        if turn.take():
            break
        time.sleep(TURN_POLL)
    else:
        raise endless()
    try:
        yield
    finally:
        turn.give_back()


def endless() -> TokenUnavailableError:
    """Make the error of a turn that is never given back."""
    return TokenUnavailableError("another process is renewing, and does not come to an end")

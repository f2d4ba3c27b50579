# SPDX-License-Identifier: Apache-2.0
"""Lines for whoever watches, which make nobody wait: a stopped terminal must not stop a server.

Ctrl-S in a terminal, or a pager that is not scrolled, stops a program at its next line of output;
a broker's log would stop the broker. So lines are handed to a thread, and where it cannot keep up
the newest are dropped and counted.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from types import TracebackType
from typing import Final, Self, TextIO

__all__ = ["Console"]

MAX_WAITING: Final = 10_000
CLOSE_TIMEOUT: Final = 1.0
"""Seconds that the last lines may take; whoever stopped the terminal does not wait for them."""


class Console:
    """Shows lines in a thread of its own; a context manager that shows the last ones.

    Args:
        stream: Where to write. When nobody reads it any more, lines go nowhere.
        limit: How many lines may wait.
    """

    def __init__(self, stream: TextIO, *, limit: int = MAX_WAITING) -> None:
        self._stream = stream
        self._waiting: queue.Queue[str | None] = queue.Queue(limit)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="keyfob-console", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(CLOSE_TIMEOUT)

    def show(self, line: str) -> None:
        """Show a line soon; never waits."""
        try:
            self._waiting.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _write(self) -> None:
        while (line := self._waiting.get()) is not None:
            dropped, self._dropped = self._dropped, 0
            if dropped:
                line = f"{line}\n({dropped} lines were not shown)"
            if not self._put(line):
                return

    def _put(self, line: str) -> bool:
        encoding = self._stream.encoding or "utf-8"  # a stream in memory has none
        try:
            self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            # One flush for all that waits: a flush is a system call.
            if self._waiting.empty():
                self._stream.flush()
        except (OSError, ValueError):  # nobody reads, or the stream was closed
            return False
        return True

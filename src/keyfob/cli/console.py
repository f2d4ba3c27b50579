# SPDX-License-Identifier: Apache-2.0
"""Lines for whoever watches, which make nobody wait: a stopped terminal must not stop a server.

Ctrl-S in a terminal, or a pager that is not scrolled, stops a program at its next line of output;
a broker's log would stop the broker. So lines are handed to a thread, and where it cannot keep up
the newest are dropped and counted. The thread rests after each batch: woken for every line, it
would take a server more time than the answer that the line tells of.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from types import TracebackType
from typing import Final, Self, TextIO

__all__ = ["Console"]

MAX_WAITING: Final = 10_000
CLOSE_TIMEOUT: Final = 1.0
"""Seconds that the last lines may take; whoever stopped the terminal does not wait for them."""
_REST: Final = 0.02


class Console:
    """Shows lines in a thread of its own; a context manager that shows the last ones.

    Args:
        stream: Where to write. When nobody reads it any more, lines go nowhere.
        limit: How many lines may wait.
    """

    def __init__(self, stream: TextIO, *, limit: int = MAX_WAITING) -> None:
        self._stream = stream
        self._limit = limit
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
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
        self._waiting.put(None)
        self._thread.join(CLOSE_TIMEOUT)

    def show(self, line: str) -> None:
        """Show a line soon; never waits."""
        if self._waiting.qsize() < self._limit:
            self._waiting.put(line)
        else:
            self._dropped += 1

    def _write(self) -> None:
        more = True
        while more:
            lines, more = self._batch()
            dropped, self._dropped = self._dropped, 0
            if dropped:
                lines.append(f"({dropped} lines were not shown)")
            if not self._put("".join(line + "\n" for line in lines)):
                return

    def _batch(self) -> tuple[list[str], bool]:
        """Wait for a line, and return it with those behind it and whether more may come."""
        lines: list[str] = []
        line = self._waiting.get()
        time.sleep(_REST)
        with contextlib.suppress(queue.Empty):
            while line is not None:
                lines.append(line)
                line = self._waiting.get_nowait()
        return lines, line is not None

    def _put(self, text: str) -> bool:
        encoding = self._stream.encoding or "utf-8"  # a stream in memory has none
        try:
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads, or the stream was closed
            return False
        return True

# SPDX-License-Identifier: Apache-2.0
"""A network between client and broker that can be cut, or is slow: a TCP proxy."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Final

__all__ = ["Cable", "cable"]

_CHUNK: Final = 65_536
_NARROW: Final = 4_096
"""Bytes that a slow way takes at once, and some eight times as many that its buffer holds."""


class _Ends:
    """Takes connections at ``port`` and leads them to another; until it is cut.

    Args:
        target: The port behind it.
        rate: Bytes in a second that it takes towards the target; 0: as many as come.
    """

    def __init__(self, target: int, rate: int = 0) -> None:
        self._target = target
        self._rate = rate
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._whole = True
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        if rate:  # before anybody connects: it is what sockets begin with
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * _NARROW)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection without a word, and let none come about."""
        with self._lock:
            self._whole = False
            ends, self._ends = self._ends, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let connections come about again."""
        with self._lock:
            self._whole = True

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near:
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            with self._lock:
                if not self._whole:
                    far.close()
                    return
                self._ends |= {near, far}
            threads = [
                threading.Thread(target=_pump, args=pair, daemon=True)
                for pair in ((near, far, self._rate), (far, near, 0))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            far.close()
            with self._lock:
                self._ends -= {near, far}


def _pump(source: socket.socket, sink: socket.socket, rate: int) -> None:
    """Lead bytes one way; the end of one half is passed on as that."""
    with contextlib.suppress(OSError):
        while data := source.recv(_NARROW if rate else _CHUNK):
            sink.sendall(data)
            if rate:
                time.sleep(len(data) / rate)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class Cable:
    """A cable in a process of its own: paho's ``select`` takes no file descriptor beyond 1,023.

    Args:
        target: The port behind it.
        rate: Bytes in a second that it takes towards the target; 0: as many as come.
    """

    def __init__(self, target: int, rate: int = 0) -> None:
        command = [sys.executable, "-m", "tests.soak.cable", str(target), str(rate)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin
        assert self._process.stdout
        self._words, self._answers = self._process.stdin, self._process.stdout
        self.port = int(self._answers.readline())

    def cut(self) -> None:
        """End every connection without a word, and let none come about."""
        self._say("cut")

    def mend(self) -> None:
        """Let connections come about again."""
        self._say("mend")

    def close(self) -> None:
        """End everything."""
        self._words.close()
        self._process.wait(10)
        self._answers.close()

    def _say(self, word: str) -> None:
        print(word, file=self._words, flush=True)
        assert self._answers.readline().strip() == word


@contextlib.contextmanager
def cable(target: int, rate: int = 0) -> Iterator[Cable]:
    """Lay a cable."""
    made = Cable(target, rate)
    try:
        yield made
    finally:
        made.close()


def main() -> None:
    """Be a cable, as the words on standard input say."""
    ends = _Ends(*map(int, sys.argv[1:]))
    print(ends.port, flush=True)
    for line in sys.stdin:
        {"cut": ends.cut, "mend": ends.mend}[line.strip()]()
        print(line.strip(), flush=True)


if __name__ == "__main__":
    main()

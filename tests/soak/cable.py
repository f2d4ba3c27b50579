# SPDX-License-Identifier: Apache-2.0
"""A network between client and broker that can be cut: a TCP proxy."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Final

__all__ = ["Cable", "cable"]

_CHUNK: Final = 65_536


class _Ends:
    """Takes connections at ``port`` and leads them to another; until it is cut.

    Args:
        target: The port behind it.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._ends: set[socket.socket] = set()
        self._whole = True
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
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
                for pair in ((near, far), (far, near))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            far.close()
            with self._lock:
                self._ends -= {near, far}


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Lead bytes one way; the end of one half is passed on as that."""
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class Cable:
    """A cable in a process of its own: paho's ``select`` takes no file descriptor beyond 1,023.

    Args:
        target: The port behind it.
    """

    def __init__(self, target: int) -> None:
        command = [sys.executable, "-m", "tests.soak.cable", str(target)]
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
def cable(target: int) -> Iterator[Cable]:
    """Lay a cable."""
    made = Cable(target)
    try:
        yield made
    finally:
        made.close()


def main() -> None:
    """Be a cable, as the words on standard input say."""
    ends = _Ends(int(sys.argv[1]))
    print(ends.port, flush=True)
    for line in sys.stdin:
        {"cut": ends.cut, "mend": ends.mend}[line.strip()]()
        print(line.strip(), flush=True)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""A syslog daemon as far as a sender sees it: a datagram socket that somebody reads."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def syslog_receiver(path: Path) -> Iterator[list[bytes]]:
    """Receive as long as the block lasts; what came is in the list."""
    came: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))

        def read() -> None:
            while message := receiver.recv(65_536):
                came.append(message)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        yield came
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", str(path))
        reader.join()

# SPDX-License-Identifier: Apache-2.0
"""A hundred thousand connections that stay: raw sockets, from several loopback addresses."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.brokers.mosquitto.plugin.load import connect_packet

__all__ = ["Crowd", "room_for"]

SPARE: Final = 2_000  # file descriptors for everything else
AT_ONCE: Final = 50  # connections that are being made; the broker's queue has 100 places
PER_ADDRESS: Final = 20_000  # an address has some 28,000 ports of its own


def room_for(count: int) -> int:
    """Raise this process's limit of open files; return what there is room for."""
    wanted = count + SPARE
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):  # only root may raise the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
        return count
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(count, hard - SPARE)


@dataclass
class Crowd:
    """Clients of one broker that connect and say nothing."""

    port: int
    token: bytes = b"good"
    sockets: dict[str, socket.socket] = field(default_factory=dict)

    def connect(self, count: int) -> float:
        """Connect so many; return the seconds it took.

        Raises:
            AssertionError: One was refused.
        """
        began = time.monotonic()
        for first in range(0, count, AT_ONCE):
            names = [f"device-{n:06}" for n in range(first, min(count, first + AT_ONCE))]
            made = [self._begin(name, first // PER_ADDRESS) for name in names]
            for name, connection in zip(names, made, strict=True):
                head = connection.recv(5)
                assert head[0] == 0x20, f"{name} was closed"
                assert head[3] == 0, f"{name} was refused"
                connection.setblocking(False)
                self.sockets[name] = connection
        return time.monotonic() - began

    def _begin(self, name: str, address: int) -> socket.socket:
        connection = socket.create_connection(
            ("127.0.0.1", self.port), 30, source_address=(f"127.0.1.{1 + address}", 0)
        )
        connection.sendall(connect_packet(name, self.token, keep_alive=0))
        return connection

    def ended(self, seconds: float) -> Iterator[str]:
        """Tell who is closed within a time, as soon as it is seen."""
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            for name, connection in self.sockets.items():
                selector.register(connection, selectors.EVENT_READ, name)
            while (left := until - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    if self._at_end(self.sockets[key.data]):
                        selector.unregister(key.fileobj)
                        yield key.data

    @staticmethod
    def _at_end(connection: socket.socket) -> bool:
        try:
            return connection.recv(4096) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """Close all."""
        for connection in self.sockets.values():
            connection.close()
        self.sockets.clear()

# SPDX-License-Identifier: Apache-2.0
"""What a client wants to send while the broker waits for its answer, kept back for that long.

Who has named an authentication method may send nothing but AUTH and DISCONNECT before CONNACK (MQTT
5.0 section 3.1.2.11.9). In the middle of a re-authentication MQTT lets a client publish (section
4.12.1); Mosquitto does not: where a method takes more than one message, it ends the connection at
any other packet between AUTH 0x19 and the last AUTH. So all others wait, for a round trip or two.
Who wants to disconnect does not.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as mqtt

__all__ = ["ExchangeQueue"]

CONNECT: Final = 0x10
DISCONNECT: Final = 0xE0
_PASSING: Final = frozenset({CONNECT, DISCONNECT, 0xF0})
"""CONNECT, DISCONNECT, which ends it all, and AUTH."""


class ExchangeQueue:
    """The packets of one client; safe to use from any thread.

    Args:
        queue: Puts a packet into paho's own queue, as its ``_packet_queue``.
    """

    def __init__(self, queue: Callable[..., Any]) -> None:
        self._queue = queue
        self._lock = threading.RLock()
        self._held: deque[tuple[Any, ...]] | None = None
        self._inside = 0
        self._barred = False
        self._asking = False
        self.handing_over = False
        """Whether paho is to queue what it is given, and not to write: that may call the user."""

    def bar(self) -> None:
        """Take nothing until CONNECT: the socket is there, or soon will be.

        paho would send what another thread publishes in that moment before it, and the broker
        would close the connection. It keeps, as ever, what it is told has no connection.
        """
        with self._lock:
            self._barred = True

    def unbar(self) -> None:
        """CONNECT is in paho's queue, and all others may come behind it."""
        with self._lock:
            self._barred = False

    def ask(self) -> None:
        """CONNECT comes next, and all others wait until its exchange ends."""
        with self._lock:
            self._barred, self._asking, self._held = False, True, deque()

    def begin(self) -> bool:
        """Keep packets back from now on, if no other thread is just sending one.

        Returns:
            Whether they are; if not, it is to be tried again soon.
        """
        with self._lock:
            if self._inside:
                return False
            if self._held is None:
                self._held = deque()
            return True

    def end(self) -> None:
        """Send what was kept back, in its order, and keep nothing back any more.

        Other threads wait: this would never end if they sent faster than we do.
        """
        with self._lock:
            self.handing_over = True
            try:
                while self._held:
                    self._queue(*self._held.popleft())
            finally:
                self.handing_over = False
            self._held, self._asking = None, False

    def packet(self, command: int, *rest: Any) -> Any:
        """Take a packet instead of paho's queue."""
        kind = command & 0xF0
        if kind == DISCONNECT and not self._asking:  # before CONNACK the others may not go at all
            self.end()
        with self._lock:
            if self._barred and kind != CONNECT:
                return mqtt.MQTT_ERR_NO_CONN
            if self._held is not None and kind not in _PASSING:
                self._held.append((command, *rest))
                return mqtt.MQTT_ERR_SUCCESS
            self._inside += 1
        try:
            return self._queue(command, *rest)  # not under the lock: it may call the user
        finally:
            with self._lock:
                self._inside -= 1

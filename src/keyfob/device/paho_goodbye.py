# SPDX-License-Identifier: Apache-2.0
"""A planned end of a paho client's connection, which the broker hears however slow the way is.

Theory of operation. A broker sends the will of whoever it has not heard DISCONNECT from. DISCONNECT
goes behind all that waits: in paho's queue, in the system's own, and on the way. So it is waited
for as long as any of that becomes less, and then for what the broker says, until it closes the
connection. Only where nothing moves for a while it is taken for dead.
"""

from __future__ import annotations

import select
import socket
import sys
import time
from collections.abc import Callable, Hashable
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

if sys.platform != "win32":  # which does not tell what it has not sent yet
    from fcntl import ioctl
    from termios import TIOCOUTQ

__all__ = ["Patience", "hear_out", "say_goodbye"]

WRITE_PATIENCE: Final = 2.0
HEAR_PATIENCE: Final = 1.0
"""Seconds without any progress that a planned end waits for the broker to take, and to close, the
connection."""

_LOOK: Final = 0.05
"""Seconds between two looks for progress."""


class Patience:
    """Lasts as long as there is progress, but not for ever.

    Args:
        without: Seconds that it lasts without progress.
        most: Seconds that it lasts at most, though not fewer than ``without``.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self, without: float, most: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._without = without
        self._clock = clock
        self._since = clock()
        self._end = self._since + max(most, without)
        self._mark: Hashable = None

    def lasts(self, mark: Hashable) -> bool:
        """Tell whether to go on.

        Args:
            mark: Anything that is another one after progress.
        """
        now = self._clock()
        if mark != self._mark:
            self._mark, self._since = mark, now
        return now < min(self._since + self._without, self._end)


def say_goodbye(client: Any, most: float) -> None:
    """Send DISCONNECT, behind all that waits to be sent; paho closes the socket when it is out.

    Args:
        client: The client.
        most: Seconds that this is worth, such as what the token has to live: when it ends, the
            broker ends the connection.
    """
    goodbye: Any = None
    if client._protocol == mqtt.MQTTv5:
        goodbye = ReasonCode(PacketTypes.DISCONNECT, identifier=0)
    client._send_disconnect(goodbye)
    patience = Patience(WRITE_PATIENCE, most)
    while (sock := client._sock) is not None:
        client.loop_write()
        if client._sock is None:
            return
        if not patience.lasts((_being_written(client), _on_the_way(sock))):
            client._sock_close()  # it is dead: nobody can be told
            return
        _await(sock, _LOOK, writable=True)


def hear_out(client: Any, most: float) -> None:
    """Close our half of the connection, and read what comes until the broker closes its own.

    A socket that is closed with unread bytes in it sends a reset; the broker then may never see
    the DISCONNECT that was before it, and sends the will.

    Args:
        client: The client.
        most: As for ``say_goodbye``.
    """
    sock = client._sock
    raw = getattr(sock, "_socket", sock)  # within paho's WebSocket
    try:
        # Not SSLSocket's own, which would forget how to decrypt what is still to come.
        socket.socket.shutdown(raw, socket.SHUT_WR)
        patience, heard = Patience(HEAR_PATIENCE, most), 0
        while patience.lasts((heard, _on_the_way(raw))):
            pending = sock.pending() if hasattr(sock, "pending") else 0
            if not pending and not _await(raw, _LOOK):
                continue
            if client._packet_read() not in {mqtt.MQTT_ERR_SUCCESS, mqtt.MQTT_ERR_AGAIN}:
                return
            heard += 1
    except (OSError, ValueError):
        return


def _being_written(client: Any) -> tuple[int, int] | None:
    """Return which packet paho is writing, and how many bytes of it are written."""
    try:
        packet = client._out_packet[0]
    except IndexError:  # another thread has just written the last one
        return None
    return id(packet), packet["pos"]


def _on_the_way(sock: Any) -> int:
    """Return how many bytes the system has that the other end has not got yet; 0 if unknown."""
    if sys.platform == "win32":
        return 0
    try:
        told = ioctl(sock.fileno(), TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        return 0
    return int.from_bytes(told, sys.byteorder)


def _await(sock: Any, seconds: float, *, writable: bool = False) -> bool:
    """Wait until a socket can be read, or written; ``select`` takes no descriptor above 1,023."""
    if not hasattr(select, "poll"):  # Windows, whose ``select`` has no such limit
        wanted: tuple[list[Any], list[Any]] = ([], [sock]) if writable else ([sock], [])
        return any(select.select(*wanted, [], seconds))
    poll = select.poll()
    poll.register(sock, select.POLLOUT if writable else select.POLLIN)
    return bool(poll.poll(seconds * 1000))

# SPDX-License-Identifier: Apache-2.0
"""A CONNECT by hand, and every byte that the broker answers with until it closes."""

from __future__ import annotations

import select
import socket
import struct
from typing import Final, Self

from tests.brokers.mosquitto.plugin.fake_guard import PATIENCE

__all__ = ["ADMINISTRATIVE_ACTION", "CLOSED", "Raw", "connack", "connect_packet"]

CLOSED: Final = b""
"""The connection was closed without a word."""

ADMINISTRATIVE_ACTION: Final = bytes((0xE0, 1, 0x98))
"""DISCONNECT with reason code 0x98."""


def _field(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def connect_packet(client_id: str, version: int, *, password: bytes = b"a-token") -> bytes:
    """Return a CONNECT with a clean start (MQTT 5.0 section 3.1)."""
    head = _field(b"MQTT") + bytes((version, 0b11000010)) + struct.pack(">H", 60)
    properties = b"\0" if version == 5 else b""
    body = head + properties + _field(client_id.encode()) + _field(b"user") + _field(password)
    assert len(body) < 128
    return bytes((0x10, len(body))) + body


def connack(code: int, version: int) -> bytes:
    """Return a CONNACK that refuses."""
    return bytes((0x20, 3, 0, code, 0)) if version == 5 else bytes((0x20, 2, 0, code))


class Raw:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(data)

    def is_closed(self) -> bool:
        """Whether the broker has closed, without a word."""
        if not select.select([self._socket], [], [], 0)[0]:
            return False
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b""
        except ConnectionResetError:
            return True

    def rest(self) -> bytes:
        """Everything until the broker closes."""
        heard = b""
        try:
            while data := self._socket.recv(4096):
                heard += data
        except ConnectionResetError:
            pass
        return heard

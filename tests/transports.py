# SPDX-License-Identifier: Apache-2.0
"""Connections to a broker on this machine: TCP, TLS, and WebSockets over TLS."""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

import websocket

__all__ = ["Dial", "Stream", "tcp", "tls", "websockets"]

PATIENCE = 10.0


class Stream(Protocol):
    """What a client needs of a connection: a socket has it."""

    def sendall(self, data: bytes, /) -> None: ...

    def makefile(self, mode: str, /) -> io.BufferedReader: ...

    def shutdown(self, how: int, /) -> None: ...

    def close(self) -> None: ...


Dial = Callable[[int], Stream]
"""Connects to a port."""


def tcp(port: int) -> Stream:
    """Connect."""
    return socket.create_connection(("127.0.0.1", port), PATIENCE)  # type: ignore[return-value]


def tls(ca: str) -> Dial:
    """Return what connects over TLS, trusting one authority."""
    context = ssl.create_default_context(cafile=ca)

    def dial(port: int) -> Stream:
        raw = socket.create_connection(("localhost", port), PATIENCE)
        return context.wrap_socket(raw, server_hostname="localhost")  # type: ignore[return-value]

    return dial


def websockets(ca: str) -> Dial:
    """Return what connects over WebSockets over TLS (MQTT 5.0 section 6)."""

    def dial(port: int) -> Stream:
        return _WebSocket(
            websocket.create_connection(
                f"wss://localhost:{port}/mqtt",
                timeout=PATIENCE,
                subprotocols=["mqtt"],
                sslopt={"ca_certs": ca},
            )
        )

    return dial


class _Frames(io.RawIOBase):
    """The bytes of binary frames, one after the other."""

    def __init__(self, connection: websocket.WebSocket) -> None:
        self._connection = connection
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._left:
            try:
                received = self._connection.recv()
            except (websocket.WebSocketConnectionClosedException, ssl.SSLError):
                return 0  # Mosquitto 2.1.2 ends one over TLS with bytes that are none of TLS
            self._left = received if isinstance(received, bytes) else b""
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


class _WebSocket:
    def __init__(self, connection: websocket.WebSocket) -> None:
        self._connection = connection

    def sendall(self, data: bytes) -> None:
        self._connection.send_binary(data)

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_Frames(self._connection))

    def shutdown(self, _: int) -> None:
        self._connection.abort()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._connection.shutdown()  # type: ignore[no-untyped-call]

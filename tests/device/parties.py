# SPDX-License-Identifier: Apache-2.0
"""An authorization server and a broker that do what a test says, over real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from keyfob.device import Clock, Moment, TokenSource

__all__ = ["Broker", "Connect", "Ticking", "broker", "connack", "tokens"]

AUTH, DISCONNECT = 0xF0, 0xE0


class Ticking:
    """A clock that goes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> Moment:
        return Moment(boot="test", elapsed=self.now, wall=1e9 + self.now)


@contextlib.contextmanager
def tokens(clock: Clock, lifetime: int = 3600) -> Iterator[tuple[TokenSource, list[str]]]:
    """Give a source, and the tokens that its server has issued: token-1, token-2 and so on."""
    issued: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            issued.append(f"token-{len(issued) + 1}")
            answer = {"access_token": issued[-1], "token_type": "Bearer", "expires_in": lifetime}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    url = f"http://127.0.0.1:{server.server_port}/token"
    try:
        yield TokenSource(token_endpoint=url, client_id="dev1", clock=clock), issued
    finally:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Connect:
    """A CONNECT that came."""

    username: str | None
    password: str | None
    method: str
    data: bytes


@dataclass
class Broker:
    """What came to it, in order.

    Attributes:
        port: Where it listens.
        connects: Every CONNECT.
        auths: The code and data of every AUTH.
        ends: How each connection ended: by "DISCONNECT" or "close".
    """

    port: int
    connects: list[Connect] = field(default_factory=list)
    auths: list[tuple[int, bytes]] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)


Answer = Callable[[Broker, int, bytes], bytes]
"""Answers a packet of some kind (its first byte's upper half) with bytes; b"" is nothing."""


def connack(code: int, method: str = "") -> bytes:
    """Make a CONNACK of MQTT 5."""
    properties = Properties(PacketTypes.CONNACK)  # type: ignore[no-untyped-call]
    if method:
        properties.AuthenticationMethod = method
    return _packet(0x20, bytes((0, code)) + properties.pack())  # type: ignore[no-untyped-call]


def auth(code: int, method: str, data: bytes = b"") -> bytes:
    """Make an AUTH."""
    properties = Properties(PacketTypes.AUTH)  # type: ignore[no-untyped-call]
    properties.AuthenticationMethod = method
    if data:
        properties.AuthenticationData = data
    return _packet(AUTH, bytes((code,)) + properties.pack())  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def broker(answer: Answer) -> Iterator[Broker]:
    """Run a broker for one client after the other; it closes after a CONNACK that says no."""
    listener = socket.create_server(("127.0.0.1", 0))
    made = Broker(listener.getsockname()[1])

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    _serve(made, connection, answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def _serve(made: Broker, connection: socket.socket, answer: Answer) -> None:
    while True:
        try:
            kind, body = _read(connection)
        except EOFError:
            made.ends.append("close")
            return
        if kind == DISCONNECT:
            made.ends.append("DISCONNECT")
            return
        if kind == 0x10:
            made.connects.append(_connect(body))
        elif kind == AUTH:
            made.auths.append((body[0], _properties(PacketTypes.AUTH, body[1:])[1]))
        reply = answer(made, kind, body)
        connection.sendall(reply)
        if reply[:1] == b"\x20" and reply[3]:
            return


def _packet(kind: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes((kind, len(body))) + body


def _read(connection: socket.socket) -> tuple[int, bytes]:
    kind, size, shift = _exactly(connection, 1)[0] & 0xF0, 0, 0
    while True:
        digit = _exactly(connection, 1)[0]
        size |= (digit & 127) << shift
        shift += 7
        if digit < 128:
            return kind, _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _properties(packet: int, data: bytes) -> tuple[str, bytes, int]:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    size = properties.unpack(data)[1]  # type: ignore[no-untyped-call]
    method = getattr(properties, "AuthenticationMethod", "")
    return method, bytes(getattr(properties, "AuthenticationData", b"")), size


def _connect(body: bytes) -> Connect:
    version, flags, at = body[6], body[7], 10
    method, data = "", b""
    if version == 5:
        method, data, size = _properties(PacketTypes.CONNECT, body[at:])
        at += size
    fields = []
    while at < len(body):
        (size,) = struct.unpack_from(">H", body, at)
        fields.append(body[at + 2 : at + 2 + size].decode())
        at += 2 + size
    rest = iter(fields[1:])  # the client identifier is first
    username = next(rest) if flags & 0x80 else None
    return Connect(username, next(rest) if flags & 0x40 else None, method, data)

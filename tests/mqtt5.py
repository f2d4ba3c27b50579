# SPDX-License-Identifier: Apache-2.0
"""A small MQTT 5.0 client for what others lack: AUTH packets, and the bytes of every answer.

It does one thing after the other: what a test has not asked for waits until it is asked for.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import Final, NamedTuple, Self

from tests.transports import Dial, tcp

__all__ = [
    "AUTH",
    "CONNACK",
    "CONTINUE",
    "DISCONNECT",
    "PINGREQ",
    "PINGRESP",
    "PUBACK",
    "PUBCOMP",
    "PUBLISH",
    "PUBREC",
    "PUBREL",
    "REAUTHENTICATE",
    "SUBACK",
    "Client",
    "Packet",
]

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH = range(8, 16)

CONTINUE: Final = 0x18
REAUTHENTICATE: Final = 0x19

_SESSION_EXPIRY, _METHOD, _DATA, _ASSIGNED = 0x11, 0x15, 0x16, 0x12
# Properties that Mosquitto sends, by their identifiers: the bytes of each, or None for a field.
_SIZES: Final = {
    **dict.fromkeys((0x24, 0x25, 0x28, 0x29, 0x2A, 0x01), 1),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2),
    **dict.fromkeys((0x11, 0x27, 0x02, 0x18), 4),
}
PATIENCE: Final = 10.0


def field(data: bytes) -> bytes:
    """Return bytes behind their length."""
    return struct.pack(">H", len(data)) + data


def _variable(number: int) -> bytes:
    encoded = bytearray()
    while True:
        number, digit = divmod(number, 128)
        encoded.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(encoded)


def _packet(kind: int, flags: int, body: bytes) -> bytes:
    return bytes((kind << 4 | flags,)) + _variable(len(body)) + body


def _authentication(method: str | None, data: bytes | None) -> bytes:
    named = b"" if method is None else bytes((_METHOD,)) + field(method.encode())
    return named + (b"" if data is None else bytes((_DATA,)) + field(data))


class Packet(NamedTuple):
    """A packet of the broker."""

    kind: int
    flags: int
    body: bytes

    @property
    def reason(self) -> int:
        """The reason code of a CONNACK, AUTH, DISCONNECT, PUBACK or SUBACK."""
        match self.kind:
            case 2:
                return self.body[1]
            case 4 | 5 | 6 | 7:
                return self.body[2] if len(self.body) > 2 else 0
            case 9:
                return self.body[-1]
            case _:
                return self.body[0] if self.body else 0

    @property
    def properties(self) -> dict[int, bytes]:
        """The properties of a CONNACK or AUTH, by their identifiers."""
        at = 3 if self.kind == CONNACK else 2  # behind their length, which is below 128 here
        found: dict[int, bytes] = {}
        while at < len(self.body):
            name, at = self.body[at], at + 1
            size = _SIZES.get(name)
            if size is None:
                size, at = struct.unpack_from(">H", self.body, at)[0], at + 2
            found[name], at = self.body[at : at + size], at + size
        return found

    @property
    def data(self) -> bytes:
        """The authentication data of a CONNACK or AUTH."""
        return self.properties.get(_DATA, b"")

    @property
    def assigned(self) -> str:
        """The client identifier that a CONNACK assigns."""
        return self.properties.get(_ASSIGNED, b"").decode()

    @property
    def message(self) -> tuple[str, bytes]:
        """Topic and payload of a PUBLISH without properties."""
        size = struct.unpack_from(">H", self.body)[0]
        at = 2 + size + (2 if self.flags & 0b110 else 0)
        return self.body[2 : 2 + size].decode(), self.body[at + 1 :]

    @property
    def identifier(self) -> int:
        """The packet identifier."""
        at = 2 + struct.unpack_from(">H", self.body)[0] if self.kind == PUBLISH else 0
        return int(struct.unpack_from(">H", self.body, at)[0])


class Client:
    """One connection.

    Args:
        port: Where the broker listens, on this machine.
        client_id: The client identifier; empty: the broker assigns one.
        method: The authentication method; None: there is none.
        over: What connects to the port.
    """

    def __init__(
        self,
        port: int,
        client_id: str,
        method: str | None = "OAUTH2-JWT",
        *,
        over: Dial = tcp,
    ) -> None:
        self.client_id = client_id
        self.method = method
        self.waiting: deque[Packet] = deque()
        self._socket = over(port)
        self._stream = self._socket.makefile("rb")
        self._identifier = 0
        self._gathered: bytearray | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it without a DISCONNECT."""
        self._stream.close()
        self._socket.close()

    def hang_up(self) -> None:
        """End it, also for who reads in another thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def say(self, kind: int, body: bytes = b"", flags: int = 0) -> None:
        """Send a packet; one of ``together`` waits for the end of that."""
        packet = _packet(kind, flags, body)
        if self._gathered is None:
            self._socket.sendall(packet)
        else:
            self._gathered += packet

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Send all packets of the block at once, so that the broker reads them at once."""
        gathered = self._gathered = bytearray()
        yield
        self._gathered = None
        self._socket.sendall(bytes(gathered))

    def connect(
        self,
        data: bytes | None = None,
        *,
        clean: bool = True,
        expiry: int = 0,
        username: str | None = None,
        password: bytes | None = None,
        will: str | None = None,
        keepalive: int = 60,
    ) -> Packet | None:
        """Send a CONNECT; return what comes: CONNACK, AUTH, or None for the end."""
        self.send_connect(
            data,
            clean=clean,
            expiry=expiry,
            username=username,
            password=password,
            will=will,
            keepalive=keepalive,
        )
        return self.next()

    def send_connect(
        self,
        data: bytes | None = None,
        *,
        clean: bool = True,
        expiry: int = 0,
        username: str | None = None,
        password: bytes | None = None,
        will: str | None = None,
        keepalive: int = 60,
    ) -> None:
        """Send a CONNECT."""
        flags = 2 * clean | (0x04 if will is not None else 0)
        flags |= (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
        properties = struct.pack(">BI", _SESSION_EXPIRY, expiry)
        properties += _authentication(self.method, data)
        body = field(b"MQTT") + bytes((5, flags)) + struct.pack(">H", keepalive)
        body += _variable(len(properties)) + properties + field(self.client_id.encode())
        if will is not None:
            body += b"\0" + field(will.encode()) + field(b"gone")
        if username is not None:
            body += field(username.encode())
        if password is not None:
            body += field(password)
        self.say(CONNECT, body)

    def send_auth(
        self, reason: int, data: bytes | None = None, *, method: str | None = None
    ) -> None:
        """Send an AUTH."""
        properties = _authentication(method or self.method, data)
        self.say(AUTH, bytes((reason,)) + _variable(len(properties)) + properties)

    def auth(
        self, reason: int, data: bytes | None = None, *, method: str | None = None
    ) -> Packet | None:
        """Send an AUTH; return what comes of it: AUTH, CONNACK, DISCONNECT, or None for the end.

        What comes before it waits.
        """
        self.send_auth(reason, data, method=method)
        return self.find(AUTH, CONNACK, DISCONNECT)

    def subscribe(self, topic: str, qos: int = 1) -> int:
        """Subscribe; return the reason code."""
        self._identifier += 1
        body = struct.pack(">H", self._identifier) + b"\0" + field(topic.encode()) + bytes((qos,))
        self.say(SUBSCRIBE, body, 2)
        answer = self.find(SUBACK)
        assert answer is not None, "the connection ended"
        return answer.reason

    def publish(self, topic: str, payload: bytes = b"x", qos: int = 1) -> int | None:
        """Publish at QoS 1 or 0; return the reason code, None for the end or at QoS 0."""
        self.send(topic, payload, qos)
        if qos == 0:
            return None
        answer = self.find(PUBACK, DISCONNECT)
        return None if answer is None or answer.kind == DISCONNECT else answer.reason

    def send(self, topic: str, payload: bytes, qos: int) -> int:
        """Send a PUBLISH; return its packet identifier."""
        self._identifier = self._identifier % 0xFFFF + 1
        identifier = struct.pack(">H", self._identifier) if qos else b""
        self.say(PUBLISH, field(topic.encode()) + identifier + b"\0" + payload, qos << 1)
        return self._identifier

    def received(self) -> tuple[str, bytes]:
        """Wait for a message; acknowledge it at QoS 1."""
        packet = self.find(PUBLISH)
        assert packet is not None, "the connection ended"
        if packet.flags & 0b110 == 0b010:
            self.say(PUBACK, struct.pack(">H", packet.identifier))
        return packet.message

    def ping(self) -> bool:
        """Whether the broker answers; whatever it sent before waits by then."""
        with contextlib.suppress(OSError):
            self.say(PINGREQ)
            return self.find(PINGRESP) is not None
        return False

    def nothing_waits(self) -> bool:
        """Whether the broker has sent nothing that was not asked for, up to now."""
        return self.ping() and not self.waiting

    def find(self, *kinds: int) -> Packet | None:
        """Wait for a packet of one of these kinds; None where the connection ends first."""
        for waiting in self.waiting:
            if waiting.kind in kinds:
                self.waiting.remove(waiting)
                return waiting
        while (packet := self.read()) is not None:
            if packet.kind in kinds:
                return packet
            self.waiting.append(packet)
        return None

    def next(self) -> Packet | None:
        """The next packet; None where the connection ends."""
        return self.waiting.popleft() if self.waiting else self.read()

    def rest(self) -> list[Packet]:
        """Everything until the broker closes."""
        return list(self._rest())

    def _rest(self) -> Iterator[Packet]:
        while (packet := self.next()) is not None:
            yield packet

    def read(self) -> Packet | None:
        """Read a packet off the socket; None where the connection ends."""
        try:
            first = self._stream.read(1)
            if not first:
                return None
            size, shift = 0, 0
            while True:
                (digit,) = self._stream.read(1)
                size |= (digit & 0x7F) << shift
                shift += 7
                if digit < 0x80:
                    break
            return Packet(first[0] >> 4, first[0] & 0x0F, self._stream.read(size))
        except ConnectionResetError:
            return None

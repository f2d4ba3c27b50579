# SPDX-License-Identifier: Apache-2.0
"""As much of an MQTT 5.0 client as a soak needs, over asyncio, with nothing hidden.

A message is handed on before its PUBACK is written, so that what was acknowledged was received;
and nothing is ever sent again by itself, so that what was published is known to the packet.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

__all__ = ["Address", "Connection", "RefusedError"]

CONNECT, CONNACK, PUBLISH, PUBACK = 0x10, 0x20, 0x30, 0x40
SUBSCRIBE, SUBACK, DISCONNECT = 0x82, 0x90, 0xE0
SESSION_EXPIRY = 3600
PATIENCE = 10.0


@dataclass(frozen=True)
class Address:
    """A listener of the broker's."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


class RefusedError(Exception):
    """The broker did not let the client in; ``code`` is None where it said nothing."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"refused with {code}")
        self.code = code


class Connection:
    """One connection of a client that was let in."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        on_message: Callable[[str, bytes], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._on_message = on_message
        self._waiting: dict[tuple[int, int], asyncio.Future[int | None]] = {}
        self._last_id = 0
        self.session_present = False
        self.ended = asyncio.Event()
        self.reason: int | None = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        address: Address,
        client_id: str,
        credentials: tuple[str, str],
        on_message: Callable[[str, bytes], None],
        *,
        clean_start: bool = False,
    ) -> Self:
        """Connect; the session outlives the connection by an hour, unless it starts clean.

        Raises:
            RefusedError: The broker says no, or closes without a word.
            OSError: Nobody listens.
        """
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection(
                address.host, address.port, ssl=address.tls
            )
            connection = cls(reader, writer, on_message)
            try:
                connection._write(CONNECT, _connect(client_id, credentials, clean_start))
                kind, body = await connection._packet()
            except (asyncio.IncompleteReadError, OSError):
                connection.drop()
                raise RefusedError(None) from None
            except BaseException:
                connection.drop()
                raise
        if kind != CONNACK or body[1]:
            connection.drop()
            raise RefusedError(body[1])
        connection.session_present = body[0] == 1
        connection._task = asyncio.create_task(connection._read())
        return connection

    async def subscribe(self, *filters: str) -> tuple[int | None, ...]:
        """Subscribe with QoS 1, to each filter by a packet of its own; the reason codes."""
        return tuple([await self._subscribe(each) for each in filters])

    async def publish(self, topic: str, payload: bytes) -> int | None:
        """Publish with QoS 1; the PUBACK's reason code, None where the connection ended first."""
        packet_id, answer = self._expect(PUBACK)
        self._write(PUBLISH | 2, _text(topic) + struct.pack(">HB", packet_id, 0) + payload)
        return await answer

    async def disconnect(self) -> None:
        """Say goodbye; the session stays."""
        self._write(DISCONNECT, b"")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), PATIENCE)
        self.drop()

    def drop(self) -> None:
        """Lose the connection, as a cable that is pulled."""
        self._writer.transport.abort()

    async def _subscribe(self, topic_filter: str) -> int | None:
        packet_id, answer = self._expect(SUBACK)
        self._write(SUBSCRIBE, struct.pack(">HB", packet_id, 0) + _text(topic_filter) + b"\1")
        return await answer

    def _expect(self, kind: int) -> tuple[int, asyncio.Future[int | None]]:
        self._last_id = self._last_id % 0xFFFF + 1
        answer: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        if self.ended.is_set():
            answer.set_result(None)
        else:
            self._waiting[kind, self._last_id] = answer
        return self._last_id, answer

    async def _read(self) -> None:
        try:
            while True:
                kind, body = await self._packet()
                if kind & 0xF0 == PUBLISH:
                    self._receive(kind, body)
                elif kind == DISCONNECT:
                    self.reason = body[0] if body else 0
                elif kind in (PUBACK, SUBACK):
                    (packet_id,) = struct.unpack_from(">H", body)
                    code = body[-1] if len(body) > 2 else 0
                    answer = self._waiting.pop((kind, packet_id))
                    if not answer.done():  # or its device has stopped waiting
                        answer.set_result(body[2] if kind == PUBACK and len(body) > 2 else code)
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError):
            pass
        finally:
            self.ended.set()
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_result(None)
            self._waiting.clear()
            self.drop()

    def _receive(self, kind: int, body: bytes) -> None:
        (length,) = struct.unpack_from(">H", body)
        topic, at = body[2 : 2 + length].decode(), 2 + length
        packet_id = body[at : at + 2] if kind & 6 else b""
        at += len(packet_id)
        properties, at = _variable(body, at)
        self._on_message(topic, body[at + properties :])
        if packet_id:
            self._write(PUBACK, packet_id)

    async def _packet(self) -> tuple[int, bytes]:
        (kind,) = await self._reader.readexactly(1)
        length = shift = 0
        more = True
        while more:
            (digit,) = await self._reader.readexactly(1)
            length |= (digit & 0x7F) << shift
            shift, more = shift + 7, digit > 0x7F
        return kind, await self._reader.readexactly(length)

    def _write(self, kind: int, body: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(bytes((kind,)) + _length(len(body)) + body)


def _connect(client_id: str, credentials: tuple[str, str], clean_start: bool) -> bytes:
    username, password = credentials
    flags = 0xC0 | 2 * clean_start
    properties = b"" if clean_start else b"\x11" + struct.pack(">I", SESSION_EXPIRY)
    head = _text("MQTT") + struct.pack(">BBHB", 5, flags, 60, len(properties)) + properties
    return head + _text(client_id) + _text(username) + _text(password)


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def _length(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*digits, number))


def _variable(body: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        digit = body[at]
        number |= (digit & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if digit < 0x80:
            return number, at

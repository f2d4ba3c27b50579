# SPDX-License-Identifier: Apache-2.0
"""Many clients at once on a broker, each doing one thing after the other, not all of it well.

Raw MQTT 5 on asyncio, so that one process makes thousands of connections a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

__all__ = [
    "EVERYTHING",
    "PASSING",
    "PATIENCE",
    "Load",
    "connect_packet",
    "packet",
    "publish_packet",
    "read_packet",
    "resident",
]

PATIENCE: Final = 30.0
PASSING: Final = ("come_and_go", "come_nameless", "talk", "vanish", "abort", "be_refused")
EVERYTHING: Final = (*PASSING, "keep_a_session", "stay", "overstep", "babble", "retain")

CONNACK, PUBLISH, PUBACK, SUBACK, DISCONNECT = 2, 3, 4, 9, 14

_Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_ENDED: Final = (ConnectionError, asyncio.IncompleteReadError)


def _field(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def packet(first: int, body: bytes) -> bytes:
    """Return a control packet: its first byte, its length, its body (MQTT 5.0 section 2.1)."""
    length, remaining = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        remaining.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([first, *remaining]) + body


def connect_packet(
    client_id: str,
    token: bytes,
    *,
    clean: bool = True,
    will: str | None = None,
    keep_alive: int = 60,
) -> bytes:
    """Return a CONNECT; without ``clean`` its session is kept for an hour."""
    flags = 0b01000000 | (0b10 if clean else 0) | (0b100 if will else 0)
    expiry = b"" if clean else b"\x11" + struct.pack(">I", 3600)
    body = _field(b"MQTT") + bytes([5, flags]) + struct.pack(">H", keep_alive)
    body += bytes([len(expiry)]) + expiry + _field(client_id.encode())
    if will is not None:
        body += b"\0" + _field(will.encode()) + _field(b"gone")
    return packet(0x10, body + _field(token))


def subscribe_packet(topic_filter: str, qos: int) -> bytes:
    """Return a SUBSCRIBE."""
    return packet(0x82, struct.pack(">HB", 1, 0) + _field(topic_filter.encode()) + bytes([qos]))


def publish_packet(topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> bytes:
    """Return a PUBLISH."""
    number = struct.pack(">H", 1) if qos else b""
    return packet(0x30 | qos << 1 | retain, _field(topic.encode()) + number + b"\0" + payload)


def resident(pid: int) -> float:
    """MiB of memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the next packet's type and body.

    Raises:
        ConnectionError, IncompleteReadError: The broker has closed.
    """
    (first,) = await reader.readexactly(1)
    length = shift = 0
    while True:
        (digit,) = await reader.readexactly(1)
        length |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            return first >> 4, await reader.readexactly(length)


@dataclass
class Load:
    """A load on one broker.

    Args:
        port: Where it listens.
        token_of: The token that a client shows.
        names: The identifiers that clients choose from; who meets another takes its place.
        deeds: What clients do: of ``EVERYTHING``, or of ``PASSING``, which leaves nothing behind in
            the broker: no session that is kept, no message that is retained.
        root: What their topics begin with, before their identifiers.
    """

    port: int
    token_of: Callable[[str], bytes]
    names: list[str]
    deeds: tuple[str, ...] = EVERYTHING
    seed: int = 0
    root: str = ""
    host: str = "127.0.0.1"
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._deeds = [getattr(self, f"_{name}") for name in self.deeds]

    async def run(self, cycles: int, *, at_once: int = 40) -> None:
        """Do so many things; return when all are done."""
        left = iter(range(cycles))

        async def client() -> None:
            for _ in left:
                await self._one(self._chance.choice(self._deeds))

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(client())

    async def _one(self, deed: Callable[[str], Awaitable[str]]) -> None:
        name = self._chance.choice(self.names)
        try:
            async with asyncio.timeout(PATIENCE):
                outcome = await deed(name)
        except _ENDED:
            outcome = "ended by the broker"
        except TimeoutError:
            outcome = "NEVER ENDED"
        self.done[f"{deed.__name__.strip('_')}: {outcome}"] += 1

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[_Streams]:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    @contextlib.asynccontextmanager
    async def _come_in(
        self, name: str, *, clean: bool = True, will: str | None = None, nameless: bool = False
    ) -> AsyncIterator[_Streams]:
        async with self._open() as (reader, writer):
            client_id = "" if nameless else name
            writer.write(connect_packet(client_id, self.token_of(name), clean=clean, will=will))
            kind, body = await read_packet(reader)
            if kind != CONNACK or body[1] != 0:
                raise ConnectionError("refused")
            yield reader, writer

    async def _come_and_go(self, name: str) -> str:
        async with self._come_in(name) as (_, writer):
            writer.write(packet(0xE0, b""))
            await writer.drain()
        return "done"

    async def _come_nameless(self, name: str) -> str:
        """The broker makes up an identifier, which nobody comes back under."""
        async with self._come_in(name, nameless=True) as (_, writer):
            writer.write(packet(0xE0, b""))
            await writer.drain()
        return "done"

    async def _talk(self, name: str) -> str:
        async with self._come_in(name, will=f"{self.root}{name}/will") as (reader, writer):
            writer.write(subscribe_packet(f"{self.root}{name}/#", 1))
            writer.write(publish_packet(f"{self.root}{name}/up", b"x" * 50))
            wanted = {SUBACK, PUBLISH, PUBACK}
            while wanted:
                kind, _ = await read_packet(reader)
                wanted.discard(kind)
            writer.write(packet(0xE0, b""))
        return "done"

    async def _vanish(self, name: str) -> str:
        """Its will is asked about."""
        async with self._come_in(name, will=f"{self.root}{name}/will") as (_, writer):
            writer.write(publish_packet(f"{self.root}{name}/up", b"x", qos=0))
        return "done"

    async def _abort(self, name: str) -> str:
        async with self._open() as (_, writer):
            writer.write(connect_packet(name, self.token_of(name)))
            await asyncio.sleep(0)
        return "done"

    async def _be_refused(self, name: str) -> str:
        async with self._open() as (reader, writer):
            writer.write(connect_packet(name, b"bad"))
            kind, body = await read_packet(reader)
        # A DISCONNECT: the guard was gone, and Mosquitto 2.1 says so where a decision was awaited.
        assert kind == DISCONNECT or (kind == CONNACK and body[1] >= 0x80), (kind, body)
        return "done"

    async def _keep_a_session(self, name: str) -> str:
        async with self._come_in(name, clean=False) as (reader, writer):
            writer.write(subscribe_packet(f"{self.root}{name}/#", 1))
            while (await read_packet(reader))[0] != SUBACK:
                pass
        return "done"

    async def _stay(self, name: str) -> str:
        """Send until the broker ends it: by expiry, by revocation, for another."""
        async with self._come_in(name, will=f"{self.root}{name}/will") as (reader, writer):
            with contextlib.suppress(*_ENDED):
                while True:
                    writer.write(publish_packet(f"{self.root}{name}/up", b"x"))
                    await read_packet(reader)
                    await asyncio.sleep(0.02)
        return "done"

    async def _overstep(self, name: str) -> str:
        async with self._come_in(name) as (reader, writer):
            writer.write(subscribe_packet("#", 1))
            writer.write(publish_packet("somebody/else", b"x"))
            while True:
                kind, body = await read_packet(reader)
                if kind == PUBACK:
                    assert body[2] == 0x87
                    return "done"

    async def _babble(self, name: str) -> str:
        async with self._open() as (reader, writer):
            data = bytearray(
                connect_packet(name, self.token_of(name), will=f"{self.root}{name}/will")
            )
            for _ in range(3):
                data[self._chance.randrange(2, len(data))] = self._chance.randrange(256)
            writer.write(data)
            writer.write_eof()
            with contextlib.suppress(*_ENDED):
                while True:
                    await read_packet(reader)
        return "done"

    async def _retain(self, name: str) -> str:
        async with self._come_in(name, clean=False) as (reader, writer):
            writer.write(publish_packet(f"{self.root}{name}/kept", b"x" * 20, retain=True))
            while (await read_packet(reader))[0] != PUBACK:
                pass
        return "done"

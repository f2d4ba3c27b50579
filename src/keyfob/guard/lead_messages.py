# SPDX-License-Identifier: Apache-2.0
"""What the lead of a guard and its workers say to each other, and how it is framed.

Several processes may decide for one guard; each has its own clients. The lead decides nothing: it
hears of revocations, keeps them on the disk, and passes them on. Both ends are one program of one
version, so there is nothing to negotiate.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Final

import msgspec

from keyfob.errors import ProtocolError
from keyfob.guard.revocations import Revocation

__all__ = [
    "MAX_MESSAGE",
    "Answered",
    "Ask",
    "Joined",
    "Learn",
    "Message",
    "Ready",
    "read",
    "write",
]

MAX_MESSAGE: Final = 64 * 1024 * 1024
"""Bytes: more than a hundred thousand revocations, which no feed brings in one page."""

_LENGTH: Final = struct.Struct("!I")


class Joined(msgspec.Struct, frozen=True, tag="joined"):
    """A worker begins to listen."""

    worker: int


class Learn(msgspec.Struct, frozen=True, tag="learn"):
    """Revocations that take effect now."""

    number: int
    revocations: tuple[Revocation, ...]


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Everything that the issuers have revoked until now has been read."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """A question by name: ``reload`` or ``figures``."""

    number: int
    what: str


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """A ``Learn`` has taken effect, or the answer to an ``Ask``, as MessagePack.

    Number 0 is the ``Learn`` that came first: from now on the worker listens.
    """

    number: int
    value: msgspec.Raw = msgspec.Raw(b"\xc0")


Message = Joined | Learn | Ready | Ask | Answered

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Message)


def write(writer: asyncio.StreamWriter, message: Message) -> None:
    """Send a message; it waits in the writer's buffer if it must."""
    data = _encoder.encode(message)
    writer.write(_LENGTH.pack(len(data)) + data)


async def read(reader: asyncio.StreamReader) -> Message | None:
    """Return the next message; None at the end.

    Raises:
        ProtocolError: What came is none.
    """
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > MAX_MESSAGE:
            raise ProtocolError("a message between lead and worker is too long")
        message: Message = _decoder.decode(await reader.readexactly(length))
        return message
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except (msgspec.MsgspecError, ValueError) as error:
        raise ProtocolError("no message between lead and worker") from error

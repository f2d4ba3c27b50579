# SPDX-License-Identifier: Apache-2.0
"""How a link begins, as bytes: HELLO and WELCOME, which tell this protocol from any other."""

from __future__ import annotations

from struct import Struct
from typing import Final

from keyfob.brokers.mosquitto.fields import complete, pack_text, text_at
from keyfob.brokers.mosquitto.frames import Hello, Welcome
from keyfob.errors import ProtocolError

__all__ = ["pack_hello", "pack_welcome", "read_hello", "read_welcome"]

MAGIC: Final = b"KFOB"

_HELLO: Final = Struct(">4sBB16sQI")
_WELCOME: Final = Struct(">4sB16sBB")


def pack_hello(frame: Hello) -> bytes:
    """The payload of a HELLO."""
    head = _HELLO.pack(
        MAGIC,
        frame.lowest,
        frame.highest,
        frame.broker_instance,
        frame.epoch,
        frame.broker_version,
    )
    return head + pack_text(frame.broker_name)


def read_hello(payload: bytes) -> Hello:
    """What a HELLO says; ``struct.error`` where it ends too early."""
    magic, lowest, highest, instance, epoch, version = _HELLO.unpack_from(payload)
    if magic != MAGIC or lowest > highest:
        raise ProtocolError("not a HELLO of the guard link")
    name, at = text_at(payload, _HELLO.size)
    complete(payload, at)
    return Hello(
        lowest=lowest,
        highest=highest,
        broker_instance=instance,
        epoch=epoch,
        broker_version=version,
        broker_name=name,
    )


def pack_welcome(frame: Welcome) -> bytes:
    """The payload of a WELCOME."""
    if frame.worker >= frame.workers:
        raise ProtocolError("a WELCOME of a worker that there is not")
    return _WELCOME.pack(MAGIC, frame.version, frame.guard_instance, frame.worker, frame.workers)


def read_welcome(payload: bytes) -> Welcome:
    """What a WELCOME says; ``struct.error`` where its length is wrong."""
    magic, version, instance, worker, workers = _WELCOME.unpack(payload)
    if magic != MAGIC:
        raise ProtocolError("not a WELCOME of the guard link")
    if worker >= workers:
        raise ProtocolError("a WELCOME of a worker that there is not")
    return Welcome(version=version, guard_instance=instance, worker=worker, workers=workers)

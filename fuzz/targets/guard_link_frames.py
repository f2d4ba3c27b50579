# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``brokers.mosquitto.wire.FrameReader``: the guard's end of the link."""

from __future__ import annotations

import random
import zlib
from typing import Final

from fuzz.chance import Chance
from fuzz.link_frames import FROM_GUARD, altered, drawn
from fuzz.target import Target, demand
from keyfob.brokers.mosquitto.frames import (
    Admitted,
    Connect,
    Continue,
    Frame,
    Hello,
    Offline,
    Reauthenticate,
)
from keyfob.brokers.mosquitto.wire import HEADER_SIZE, MAX_PAYLOAD, FrameReader, encode
from keyfob.errors import ProtocolError

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "Bytes are refused with ProtocolError or are frames that encode to the very same bytes (but "
    "for a peer address that is mended), in whatever pieces they come."
)
_PEER: Final = 256 // 4  # characters that may be as many bytes as are read of it
_KINDS: Final = (*FROM_GUARD, Hello, Connect, Admitted, Offline, Reauthenticate, Continue)


def make(chance: Chance) -> bytes:
    """Draw some frames in a row, one of them altered."""
    frames = [drawn(chance, _KINDS) for _ in range(chance.few(4))]
    if chance.often(0.9):
        at = chance.randrange(len(frames))
        frames[at] = altered(chance, frames[at])
    return b"".join(frames)


def check(data: bytes) -> str:
    """Read everything at once, and again in pieces."""
    at_once, in_pieces = _read([data]), _read(_pieces(data))
    demand((at_once is None) == (in_pieces is None), "refused only in pieces, or only at once")
    if at_once is None or in_pieces is None:
        return "refused"
    demand(at_once == in_pieces, "other frames when they come in pieces")
    if any(_is_mended(frame) for frame, _ in at_once):
        return "a peer address that was mended"
    again = b"".join(encode(frame, request) for frame, request in at_once)
    demand(data.startswith(again), "another encoding of the same frame is taken")
    demand(len(data) - len(again) < HEADER_SIZE + MAX_PAYLOAD, "a whole frame is left lying")
    return f"{min(len(at_once), 3)} frames"


def _is_mended(frame: Frame) -> bool:
    """Whether a frame may have said another peer address: one that is no text, or too long."""
    if not isinstance(frame, Connect | Reauthenticate):
        return False
    return "\ufffd" in frame.peer or len(frame.peer) >= _PEER


def _read(pieces: list[bytes]) -> list[tuple[Frame, int]] | None:
    reader = FrameReader()
    frames: list[tuple[Frame, int]] = []
    try:
        for piece in pieces:
            frames += reader.feed(piece)
    except ProtocolError:
        _demand_ended(reader)
        return None
    return frames


def _demand_ended(reader: FrameReader) -> None:
    try:
        reader.feed(b"")
    except ProtocolError:
        return
    demand(False, "a link goes on after it was broken")


def _pieces(data: bytes) -> list[bytes]:
    """Cut the input, always in the same places."""
    chance = random.Random(zlib.crc32(data))  # noqa: S311 - no secret
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(6)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


TARGET = Target.of("guard-link-frames", _INVARIANT, make, check)

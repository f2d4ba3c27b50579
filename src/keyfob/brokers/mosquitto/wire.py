# SPDX-License-Identifier: Apache-2.0
"""Frames of the guard link as bytes, both ways, as docs/wire-protocol.md defines them.

Theory of operation: a frame is a 12-byte header and a payload. ``encode`` makes one; a
``FrameReader`` is fed whatever the socket gave and returns the frames that are complete. Everything
that the document does not allow raises ``ProtocolError``, and nothing else is ever raised: not by a
peer's bytes, and not by a value that does not fit into a frame. No error repeats what it read, for
that may be a credential.

The way of a CONNECT and of its DECISION is the hot one, so structures are compiled once and
payloads are read by offset.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as StructError  # noqa: N812 - it is an exception
from typing import Any, Final

from keyfob.brokers.mosquitto.asking import (
    DECISION_HEAD,
    pack_connect,
    pack_continue,
    pack_decision,
    pack_reauthenticate,
    read_connect,
    read_continue,
    read_decision,
    read_reauthenticate,
)
from keyfob.brokers.mosquitto.fields import (
    MAX_FIELD,
    complete,
    grant_at,
    pack_grant,
    pack_text,
    text_at,
)
from keyfob.brokers.mosquitto.frames import (
    Admitted,
    Connect,
    Continue,
    Decision,
    End,
    Frame,
    Hello,
    Offline,
    Reauthenticate,
    Record,
    RecordsEnd,
    Replace,
    Welcome,
)
from keyfob.brokers.mosquitto.greetings import (
    pack_hello,
    pack_welcome,
    read_hello,
    read_welcome,
)
from keyfob.errors import KeyfobError, ProtocolError
from keyfob.guard.session import EndCause, SessionState

__all__ = ["HEADER_SIZE", "MAX_PAYLOAD", "FrameReader", "check_record_fits", "encode"]

MAX_PAYLOAD: Final = 262_144  # three fields of 65,535 bytes, and room for the rest
HEADER_SIZE: Final = 12

_HEADER: Final = Struct(">IBBHI")
_RECORD: Final = Struct(">QBB")
_EPOCH: Final = Struct(">Q")
_END: Final = Struct(">QB")

_CLEAN, _ASSIGNED = 1, 2


# Payloads, two functions for each type of frame; those that ask and answer are in `asking`


def _pack_record(frame: Record) -> bytes:
    flags = _CLEAN * frame.clean + _ASSIGNED * frame.assigned
    head = _RECORD.pack(frame.epoch, frame.state, flags)
    return head + pack_text(frame.client_id) + pack_grant(frame.grant)


def _read_record(payload: bytes) -> Record:
    epoch, state, flags = _RECORD.unpack_from(payload)
    if state > SessionState.REVOKED or flags > _CLEAN | _ASSIGNED:
        raise ProtocolError("a record with an unknown state or a reserved flag set")
    client_id, at = text_at(payload, _RECORD.size)
    grant, at = grant_at(payload, at)
    complete(payload, at)
    return Record(
        epoch=epoch,
        state=SessionState(state),
        clean=bool(flags & _CLEAN),
        assigned=bool(flags & _ASSIGNED),
        client_id=client_id,
        grant=grant,
    )


def _pack_records_end(_frame: RecordsEnd) -> bytes:
    return b""


def _read_records_end(payload: bytes) -> RecordsEnd:
    complete(payload, 0)
    return RecordsEnd()


def _pack_admitted(frame: Admitted) -> bytes:
    return _EPOCH.pack(frame.epoch) + pack_text(frame.client_id)


def _read_admitted(payload: bytes) -> Admitted:
    (epoch,) = _EPOCH.unpack_from(payload)
    client_id, at = text_at(payload, _EPOCH.size)
    complete(payload, at)
    return Admitted(epoch=epoch, client_id=client_id)


def _pack_offline(frame: Offline) -> bytes:
    return _EPOCH.pack(frame.epoch) + pack_text(frame.client_id) + bytes((frame.kept,))


def _read_offline(payload: bytes) -> Offline:
    (epoch,) = _EPOCH.unpack_from(payload)
    client_id, at = text_at(payload, _EPOCH.size)
    complete(payload, at + 1)
    if payload[at] > 1:
        raise ProtocolError("an OFFLINE that is neither kept nor gone")
    return Offline(epoch=epoch, client_id=client_id, kept=payload[at] == 1)


def _pack_end(frame: End) -> bytes:
    return _END.pack(frame.epoch, frame.cause) + pack_text(frame.client_id)


def _read_end(payload: bytes) -> End:
    epoch, cause = _END.unpack_from(payload)
    if not EndCause.REVOKED <= cause <= EndCause.FORGOTTEN:
        raise ProtocolError("an END of an unknown cause")
    client_id, at = text_at(payload, _END.size)
    complete(payload, at)
    return End(epoch=epoch, cause=EndCause(cause), client_id=client_id)


def _pack_replace(frame: Replace) -> bytes:
    return _EPOCH.pack(frame.epoch) + pack_text(frame.client_id) + pack_grant(frame.grant)


def _read_replace(payload: bytes) -> Replace:
    (epoch,) = _EPOCH.unpack_from(payload)
    client_id, at = text_at(payload, _EPOCH.size)
    grant, at = grant_at(payload, at)
    complete(payload, at)
    return Replace(epoch=epoch, client_id=client_id, grant=grant)


# Frames

_TYPES: Final[
    tuple[tuple[int, type[Frame], Callable[..., bytes], Callable[[bytes], Frame]], ...]
] = (
    (1, Hello, pack_hello, read_hello),
    (2, Welcome, pack_welcome, read_welcome),
    (3, Record, _pack_record, _read_record),
    (4, RecordsEnd, _pack_records_end, _read_records_end),
    (5, Connect, pack_connect, read_connect),
    (6, Decision, pack_decision, read_decision),
    (7, Admitted, _pack_admitted, _read_admitted),
    (8, Offline, _pack_offline, _read_offline),
    (9, End, _pack_end, _read_end),
    (10, Reauthenticate, pack_reauthenticate, read_reauthenticate),
    (11, Replace, _pack_replace, _read_replace),
    (12, Continue, pack_continue, read_continue),
)
_PACKERS: Final[dict[type[Any], tuple[int, Callable[..., bytes]]]] = {
    frame: (number, pack) for number, frame, pack, _ in _TYPES
}
_READERS: Final = {number: read for number, _, _, read in _TYPES}
_NUMBERED: Final = frozenset({5, 6, 10, 12})  # the frames that a request number pairs


def encode(frame: Frame, request: int = 0) -> bytes:
    """The bytes of ``frame``, header and payload.

    Args:
        frame: What to say.
        request: The number that pairs a CONNECT, REAUTHENTICATE or CONTINUE with its DECISION; 0
            in every other frame.

    Raises:
        ProtocolError: The value does not fit: text with U+0000, a field or frame that is too long.
    """
    number, pack = _PACKERS[type(frame)]
    if (request != 0) != (number in _NUMBERED):
        raise ProtocolError("a request number where none belongs, or none where one does")
    try:
        payload = pack(frame)
        if len(payload) > MAX_PAYLOAD:
            raise ProtocolError(f"a payload of {len(payload)} bytes does not fit into a frame")
        return _HEADER.pack(len(payload), number, 0, 0, request) + payload
    except (StructError, UnicodeError):
        raise ProtocolError("a value does not fit into its field") from None


def check_record_fits(decision: bytes, client_id: str, data: bytes = b"") -> None:
    """Make sure that a grant can be told of again when a link opens, and not only now.

    A RECORD says what a DECISION does, and the client identifier: a grant that just fits into the
    one may be too long for the other.

    Args:
        decision: The whole frame of the DECISION, with its grant.
        client_id: Whose it is; empty: the broker has yet to make one up, of any length.
        data: What it says to the client, which a RECORD does not.

    Raises:
        ProtocolError: The RECORD would be too long.
    """
    more = _RECORD.size - DECISION_HEAD.size + (len(client_id.encode()) or MAX_FIELD)
    size = len(decision) - HEADER_SIZE - len(data) + more  # either begins one field of its own
    if size > MAX_PAYLOAD:
        raise ProtocolError(f"a record of {size} bytes would not fit into a frame")


class FrameReader:
    """Turns what a socket gives, in whatever pieces, into frames.

    It holds at most one incomplete frame. After an error it is of no more use: the link ends.
    """

    __slots__ = ("_broken", "_buffer", "_wanted")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = HEADER_SIZE  # bytes without which there is nothing to do
        self._broken = False

    def feed(self, data: bytes) -> list[tuple[Frame, int]]:
        """Take ``data`` in; return the frames that it completes, each with its request number.

        Raises:
            ProtocolError: The peer broke the protocol; what came before in ``data`` is dropped.
        """
        if self._broken:
            raise ProtocolError("the link has ended")
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._wanted:
                return []
            data = bytes(self._buffer)
        try:
            frames, at = self._frames(data)
        except ProtocolError:
            self._broken = True
            raise
        self._buffer = bytearray(data[at:])
        return frames

    def _frames(self, data: bytes) -> tuple[list[tuple[Frame, int]], int]:
        frames: list[tuple[Frame, int]] = []
        at, size = 0, len(data)
        while size - at >= HEADER_SIZE:
            length, number, request = _header_at(data, at)
            end = at + HEADER_SIZE + length
            if end > size:
                self._wanted = HEADER_SIZE + length
                return frames, at
            frames.append((_decode(number, data[at + HEADER_SIZE : end]), request))
            at = end
        self._wanted = HEADER_SIZE
        return frames, at


def _header_at(data: bytes, at: int) -> tuple[int, int, int]:
    length, number, reserved_byte, reserved_word, request = _HEADER.unpack_from(data, at)
    if length > MAX_PAYLOAD:
        raise ProtocolError("a frame that is too long")
    if number not in _READERS:
        raise ProtocolError("a frame of an unknown type")
    if reserved_byte or reserved_word:
        raise ProtocolError("a frame with a reserved bit set")
    if (request != 0) != (number in _NUMBERED):
        raise ProtocolError("a request number where none belongs, or none where one does")
    return length, number, request


def _decode(number: int, payload: bytes) -> Frame:
    try:
        return _READERS[number](payload)
    except (StructError, UnicodeError, IndexError):
        # A UnicodeError holds the bytes that it could not decode: they end here.
        raise ProtocolError("a frame that ends too early, or text that is not UTF-8") from None
    except ProtocolError:
        raise
    except KeyfobError as error:
        raise ProtocolError(f"permissions that cannot be: {error.code}") from None

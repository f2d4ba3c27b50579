# SPDX-License-Identifier: Apache-2.0
"""Bytes changed without a thought for what they mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from fuzz.chance import Chance

__all__ = ["LONGEST", "changed", "heavy"]

LONGEST: Final = 66_000
"""No input grows beyond this: a little more than the longest field of MQTT."""

_EDGES: Final = (0x00, 0x01, 0x0A, 0x20, 0x7F, 0x80, 0xC0, 0xED, 0xFE, 0xFF)
_HEAVY: Final = (
    *(b'\\"', b'"', b"\\", b'""', b'"a",', b'"a":', b"[", b"]", b"{", b"{}", b"[],", b'{"a":'),
    *(b"1", b"1,", b"1e5,", b"-", b"0.", b"\\u0041", b"\\ud83d\\udd11", b" ", b"null,", b"NaN,"),
)
_Edit = Callable[[Chance, bytearray, Sequence[bytes]], None]


def changed(chance: Chance, data: bytes, words: Sequence[bytes] = ()) -> bytes:
    """Return ``data`` after one to six changes.

    Args:
        chance: Where the changes come from.
        data: What to change.
        words: What has a meaning in such data; put in here and there.
    """
    edited = bytearray(data)
    for _ in range(chance.few(6)):
        chance.one(_EDITS)(chance, edited, words)
    return bytes(edited[:LONGEST])


def heavy(chance: Chance, longest: int) -> bytes:
    """Return JSON, or what begins like it, that repeats one thing as often as there is room."""
    head = chance.one((b"", b"[", b"{", b'"', b'["', b'{"a":')) * chance.one((1, 16, 17, 100))
    head += b'"' if chance.often(0.5) else b""
    piece = chance.one(_HEAVY)
    return head + piece * ((longest - len(head)) // len(piece))


def _span(chance: Chance, data: bytearray) -> tuple[int, int]:
    start = chance.place(len(data))
    return start, min(len(data), start + chance.few(64))


def _flip(chance: Chance, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _set(chance: Chance, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        odd = chance.one(_EDGES) if chance.often(0.5) else chance.randrange(256)
        data[chance.randrange(len(data))] = odd


def _insert(chance: Chance, data: bytearray, _: Sequence[bytes]) -> None:
    at = chance.place(len(data))
    data[at:at] = chance.randbytes(chance.few(16))


def _delete(chance: Chance, data: bytearray, _: Sequence[bytes]) -> None:
    start, end = _span(chance, data)
    del data[start:end]


def _copy(chance: Chance, data: bytearray, _: Sequence[bytes]) -> None:
    start, end = _span(chance, data)
    at = chance.place(len(data))
    data[at:at] = data[start:end]


def _overwrite(chance: Chance, data: bytearray, _: Sequence[bytes]) -> None:
    start, end = _span(chance, data)
    at = chance.place(len(data))
    data[at : at + end - start] = data[start:end]


def _cut(chance: Chance, data: bytearray, _: Sequence[bytes]) -> None:
    del data[chance.place(len(data)) :]


def _word(chance: Chance, data: bytearray, words: Sequence[bytes]) -> None:
    at = chance.place(len(data))
    data[at:at] = chance.one(words) if words else b"\0"


def _repeat(chance: Chance, data: bytearray, words: Sequence[bytes]) -> None:
    """Put in a short piece very often: what costs more than its length shows itself."""
    if not chance.often(0.1):
        return
    start = chance.place(len(data))
    piece = bytes(data[start : start + chance.few(4)])
    if words and chance.often(0.5):
        piece = chance.one(words) + (piece if chance.often(0.3) else b"")
    times = chance.one((16, 17, 64, 300, 1_000, 5_000, 20_000, 65_536))
    data[start:start] = piece * min(times, LONGEST // (len(piece) or 1))


_EDITS: Final[tuple[_Edit, ...]] = (
    _flip,
    _set,
    _insert,
    _delete,
    _copy,
    _overwrite,
    _cut,
    _word,
    _word,
    _repeat,
)

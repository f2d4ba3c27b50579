# SPDX-License-Identifier: Apache-2.0
"""Texts that cost the most for their length: each repeats one thing as often as there is room.

``JSON`` are documents, ``SCOPES`` values of ``scope``, ``FIELDS`` what somebody may send in a field
of a CONNECT. Each makes, of a length in bytes, a text of at most that length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

__all__ = ["FIELDS", "JSON", "SCOPES", "Case"]

Case: TypeAlias = Callable[[int], bytes]


def _repeated(head: bytes, piece: bytes, tail: bytes) -> Case:
    def make(length: int) -> bytes:
        room = length - len(head) - len(tail)
        return head + piece * max(room // len(piece), 0) + tail

    return make


def _numbered(opening: str, piece: str, joint: str, closing: str) -> Case:
    """Pieces that all differ, so that nothing can be remembered or thrown together."""

    def make(length: int) -> bytes:
        pieces: list[str] = []
        room = length - len(opening) - len(closing)
        while True:
            one = piece.replace("#", f"{len(pieces):x}") + joint
            room -= len(one.encode("utf-8"))
            if room < 0:
                break
            pieces.append(one)
        return (opening + "".join(pieces).removesuffix(joint) + closing).encode("utf-8")

    return make


JSON: Final[Mapping[str, Case]] = {
    "integers": _repeated(b"[", b"1,", b"1]"),
    "fractions": _repeated(b"[", b"1.5,", b"1]"),
    "longest numbers": _repeated(b"[", b"1" * 40 + b",", b"1]"),
    "one number": _repeated(b"", b"1", b""),
    "empty objects": _repeated(b"[", b"{},", b"{}]"),
    "objects of one": _repeated(b"[", b'{"":1},', b"{}]"),
    "empty arrays": _repeated(b"[", b"[],", b"[]]"),
    "deepest arrays": _repeated(b"[", b"[" * 15 + b"]" * 15 + b",", b"0]"),
    "deepest objects": _repeated(b"[", b'{"":' * 15 + b"0" + b"}" * 15 + b",", b"0]"),
    "deepest of everything": _repeated(b"[", b'[{"":' * 7 + b"1" + b"}]" * 7 + b",", b"0]"),
    "brackets only": _repeated(b"", b"[", b""),
    "braces only": _repeated(b"", b'{"a":', b""),
    "brackets and escaped quotes": _repeated(b"[" * 17, b'\\"', b""),
    "an endless text of escaped quotes": _repeated(b"[" * 17 + b'"', b'\\"', b""),
    "empty texts": _repeated(b"[", b'"",', b'""]'),
    "wide texts": _repeated('["\U0001f511'.encode(), b'","a', b'"]'),
    "one wide text": _repeated('["\U0001f511'.encode(), b"a", b'"]'),
    "escapes": _repeated(b'["', b"\\u0041", b'"]'),
    "pairs of surrogates": _repeated(b'["', b"\\ud83d\\udd11", b'"]'),
    "objects after a surrogate": _repeated(b'["\\ud83d\\udd11",', b"{},", b"0]"),
    "backslashes": _repeated(b'["', b"\\\\", b'"]'),
    "one member many times": _repeated(b"{", b'"a":1,', b'"a":1}'),
    "many members": _numbered("{", '"#":0', ",", "}"),
    "many wide members": _numbered("{", '"\U0001f511#":0', ",", "}"),
    "spaces": _repeated(b"", b" ", b""),
    "commas": _repeated(b"[", b",", b"]"),
    "bytes that are no text": _repeated(b"", b"\xff", b""),
}

SCOPES: Final[Mapping[str, Case]] = {
    "shortest": _numbered("", "#", " ", ""),
    "the same": _repeated(b"", b"a ", b"a"),
    "spaces": _repeated(b"", b" ", b""),
    "filters": _numbered("", "mqtt.publish:#", " ", ""),
    "broken encodings": _numbered("", "mqtt.publish:#%2", " ", ""),
    "one of many encodings": _repeated(b"mqtt.publish:", b"%2F", b""),
    "one broken at its end": _repeated(b"mqtt.publish:", b"%25", b"%"),
    "one of many levels": _repeated(b"mqtt.publish:", b"/", b""),
    "one of many wildcards": _repeated(b"mqtt.subscribe:", b"+/", b"+"),
    "shared subscriptions": _numbered("", "mqtt.subscribe:$share/#/a", " ", ""),
    "one of a long group": _repeated(b"mqtt.subscribe:$share/", b"a", b"/a"),
    "characters of no scope": _repeated(b"mqtt.publish:", "é".encode(), b""),
}

FIELDS: Final[Mapping[str, Case]] = {
    "letters": _repeated(b"", b"A", b""),
    "zeros": _repeated(b"", b"\0", b""),
    "bytes that are no text": _repeated(b"", b"\xff", b""),
    "dots": _repeated(b"", b".", b""),
    "parts": _repeated(b"", b"e30.", b"e30"),
    "a long first part": _repeated(b"eyJ", b"A", b".e30.e30"),
    "a long second part": _repeated(b"eyJ.", b"A", b".e30"),
    "a long third part": _repeated(b"eyJ.e30.", b"A", b""),
    "nearly three parts": _repeated(b"eyJ.e30.", b"A", b"="),
    "a JSON serialisation": _repeated(b'{"payload":"', b"A", b'","signatures":[]}'),
    "an encrypted token": _repeated(b"eyJ.", b"A", b".e30.e30.e30"),
    **{f"{name}, not encoded": case for name, case in JSON.items() if name in {"spaces", "commas"}},
}

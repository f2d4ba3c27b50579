# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``json_strict.loads``."""

from __future__ import annotations

import json
import re
from typing import Final

import msgspec

from fuzz import octets, trees
from fuzz.chance import Chance
from fuzz.signed_tokens import JWKS
from fuzz.target import Target, demand
from fuzz.token_texts import CLAIM_WORDS
from keyfob.tokens.json_strict import (
    MAX_DEPTH,
    MAX_NUMBER_CHARS,
    DuplicateMemberError,
    JsonError,
    Repeated,
    loads,
)

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "json_strict.loads gives the value that another JSON parser gives, or raises JsonError "
    "for a reason that can be found in the text."
)

_SAMPLES: Final = tuple(
    map(
        trees.planted,
        (
            JWKS,
            {"iss": "https://as.example", "aud": ["a", "b"], "exp": 1.79e9, "n": None, "t": True},
            [[1, 2.5, -3e-7], {"ä": "\U0001f511", "b": {"c": {"d": []}}}, 'x\n"\\/'],
            0,
            "text",
        ),
    )
)
_WORDS: Final = (
    b'"',
    b"\\",
    b'\\"',
    b"[",
    b"{",
    b"}",
    b"]",
    b",",
    b":",
    b"\\ud83d",
    b"\xef\xbb\xbf",
)
_LONG_NUMBER: Final = re.compile(rf"[-+.0-9eE]{{{MAX_NUMBER_CHARS + 1},}}")


def make(chance: Chance) -> bytes:
    """Draw a text that is nearly JSON."""
    if chance.often(0.01):
        return octets.heavy(chance, chance.one((1_000, 12_000)))
    tree = trees.changed(chance, chance.one(_SAMPLES), CLAIM_WORDS)
    data = trees.spelled(chance, tree).encode("utf-8")
    return octets.changed(chance, data, _WORDS) if chance.often(0.5) else data


def check(data: bytes) -> str:
    """Parse one text in both ways, and with another parser."""
    try:
        value = loads(data)
    except DuplicateMemberError:
        demand(_marked(data), "a member stands twice, and nothing is marked")
        return "duplicate"
    except JsonError:
        _demand_reason(data)
        return "refused"
    demand(_same(msgspec.json.decode(data), value), "another parser reads another value")
    demand(_same(loads(data, mark_repeated=True), value), "marking changes the value")
    demand(_depth(value) <= MAX_DEPTH, "deeper than allowed")
    return "parsed"


def _marked(data: bytes) -> bool:
    """Tell whether something is marked as repeated, or the text has another fault as well."""
    try:
        value = loads(data, mark_repeated=True)
    except JsonError:
        return True
    return _holds_repeated(value)


def _holds_repeated(value: object) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, Repeated) or any(map(_holds_repeated, inner))


def _demand_reason(data: bytes) -> None:
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    text = data.decode("utf-8")
    demand(
        _depth_of(text) > MAX_DEPTH or _LONG_NUMBER.search(text),
        "JSON that another parser reads is refused for no reason",
    )


def _depth_of(text: str) -> int:
    """Return how deep JSON text is nested, that included which a later member replaces."""
    deepest = depth = 0
    in_string = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif in_string:
            escaped, in_string = character == "\\", character != '"'
        elif character == '"':
            in_string = True
        else:
            depth += (character in "[{") - (character in "]}")
            deepest = max(deepest, depth)
    return deepest


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(_depth, inner), default=0)


def _same(a: object, b: object) -> bool:
    """Compare as text: 1, 1.0 and True are three values."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


TARGET = Target.of("strict-json", _INVARIANT, make, check)

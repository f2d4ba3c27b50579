# SPDX-License-Identifier: Apache-2.0
"""JSON that can mean one thing only (RFC 8259, with RFC 7493's closed holes).

Refused: anything but UTF-8 without a byte order mark, a member that stands twice at any depth,
NaN and the infinities in whatever spelling, lone surrogates, numbers and nestings beyond any use.
The scanner is the standard library's; every object passes through a hook that sees its members
in the order and number in which they were written.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

__all__ = [
    "MAX_DEPTH",
    "MAX_NUMBER_CHARS",
    "DuplicateMemberError",
    "JsonError",
    "Repeated",
    "loads",
]

# The deepest claims in the field (Keycloak's resource_access, RFC 9396 details) nest 5 deep.
MAX_DEPTH: Final = 16
# 2**64 has 20 digits, the longest shortest-form double 24 characters.
MAX_NUMBER_CHARS: Final = 40

# Possessive, and an unterminated string runs to the end: so every character is looked at once.
# Without that a text of escaped quotes costs the square of its length.
_STRINGS: Final = re.compile(r'"(?:[^"\\]|\\.?)*+(?:"|\Z)', re.DOTALL)


class JsonError(ValueError):
    """Not strict JSON; the message never repeats the input."""


class DuplicateMemberError(JsonError):
    """An object names a member twice (RFC 7515 section 4, RFC 7519 section 4)."""


class Repeated:
    """Stands where ``loads(..., mark_repeated=True)`` met an object with a repeated member."""

    __slots__ = ()


def loads(data: bytes, *, mark_repeated: bool = False) -> Any:  # noqa: ANN401 - it is JSON
    """Parse one JSON text.

    Args:
        data: UTF-8.
        mark_repeated: Put a ``Repeated`` in the place of an object that names a member twice,
            instead of refusing the whole text; for lists in which one element must not spoil
            the others.

    Raises:
        DuplicateMemberError: An object names a member twice.
        JsonError: Not JSON, or JSON that not every parser reads alike.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise JsonError("not UTF-8") from None
    if text.count("{") + text.count("[") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise JsonError(f"nested deeper than {MAX_DEPTH}")
    try:
        value = (_MARKING if mark_repeated else _REFUSING).decode(text)
    except JsonError:
        raise
    except ValueError:
        raise JsonError("not JSON") from None
    if "\\u" in text:
        _refuse_lone_surrogates(value)
    return value


def _depth(text: str) -> int:
    deepest = depth = 0
    for character in _STRINGS.sub("", text):
        if character in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "}]":
            depth -= 1
    return deepest


def _refuse_lone_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False, default=repr).encode("utf-8")
    except UnicodeEncodeError:
        raise JsonError("a lone surrogate, which no UTF-8 text can hold") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateMemberError("an object names a member twice")
    return members


def _unique_or_marked(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Repeated:
    members = dict(pairs)
    return members if len(members) == len(pairs) else Repeated()


def _integer(digits: str) -> int:
    if len(digits) > MAX_NUMBER_CHARS:
        raise JsonError(f"a number longer than {MAX_NUMBER_CHARS} characters")
    return int(digits)


def _fraction(digits: str) -> float:
    if len(digits) > MAX_NUMBER_CHARS:
        raise JsonError(f"a number longer than {MAX_NUMBER_CHARS} characters")
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise JsonError("a number that no double can hold")
    return number


def _constant(_: str) -> NoReturn:
    raise JsonError("NaN and Infinity are not JSON")


_REFUSING: Final = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_integer,
    parse_float=_fraction,
    parse_constant=_constant,
)
_MARKING: Final = json.JSONDecoder(
    object_pairs_hook=_unique_or_marked,
    parse_int=_integer,
    parse_float=_fraction,
    parse_constant=_constant,
)

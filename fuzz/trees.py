# SPDX-License-Identifier: Apache-2.0
"""JSON values changed as values, and written down in ways that no careful writer would use.

A tree holds what JSON text can say and Python values cannot: an object that names a member twice
(``Members``), and a number that is none (``Raw``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from fuzz.chance import Chance

__all__ = ["Members", "Raw", "Tree", "changed", "planted", "spelled", "words"]


class Members(list[tuple[str, "Tree"]]):
    """An object: its members in their order, twice where they stand twice."""


class Raw(str):
    """Stands in the text as it is."""

    __slots__ = ()


Tree: TypeAlias = Any  # None | bool | int | float | str | Raw | list[Tree] | Members

_LONGEST_TEXT: Final = 9_000
_ODD: Final[tuple[Tree, ...]] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**53 - 1,
    2**53,
    2**64,
    10**39,
    10**40,
    0.5,
    -0.0,
    1.79e308,
    5e-324,
    *map(
        Raw,
        (
            *("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1E2", "-0", "01", "1.", ".5"),
            *("+1", "9" * 41, "0." + "1" * 41, "1" * 5_000, "0x10", "1_0", "\u0661", "nul"),
        ),
    ),
    "",
    " ",
    "a",
    "A",
    "\0",
    "\x1b",
    "\x7f",
    "\x85",
    "\ud800",
    "\udfff",
    "\u2028",
    "\u202e",
    "\ufeff",
    "\U0001f511",
    "é",
    "e\u0301",
    "a" * 255,
    "a" * 256,
    "a" * 1_025,
    "é" * _LONGEST_TEXT,
    [],
    [[]],
    [None],
    ["a", "a"],
    [0] * 70,
    Members(),
    Members([("a", 1), ("a", 2)]),
    Members([("", Members())]),
)
_DEEP: Final = (14, 15, 15, 16, 16, 17, 18, 100)


def words(text: str) -> tuple[str, ...]:
    """Return what stands between spaces."""
    return tuple(text.split())


def planted(value: Tree) -> Tree:
    """Return the tree of a Python value."""
    if isinstance(value, dict):
        return Members((name, planted(inner)) for name, inner in value.items())
    return [planted(inner) for inner in value] if isinstance(value, list) else value


def changed(chance: Chance, tree: Tree, words: Sequence[str] = ()) -> Tree:
    """Return a tree after one to four changes; ``tree`` itself stays as it is.

    Args:
        chance: Where the changes come from.
        tree: What to change.
        words: Member names and texts that mean something in such a tree.
    """
    for _ in range(chance.few(4)):
        tree = _changed_once(chance, tree, words)
    return tree


def spelled(chance: Chance, tree: Tree) -> str:
    """Write a tree as JSON text, one time in four with white space and escapes that mean nothing.

    Lone surrogates are always escaped, so that the text has a UTF-8 form.
    """
    pieces: list[str] = []
    oddly = chance.often(0.25)
    _write(chance, tree, pieces.append, oddly=oddly)
    text = "".join(pieces)
    return _space(chance) + text + _space(chance) if oddly else text


def _changed_once(chance: Chance, tree: Tree, words: Sequence[str]) -> Tree:
    if isinstance(tree, list) and tree and chance.often(0.8):
        return _inside(chance, tree, words)
    if isinstance(tree, str) and not isinstance(tree, Raw) and chance.often(0.3):
        return _changed_text(chance, tree)
    return _odd(chance, tree, words)


def _inside(chance: Chance, tree: Tree, words: Sequence[str]) -> Tree:
    copy = type(tree)(tree)
    at = chance.randrange(len(copy))
    named = isinstance(copy, Members)
    draw = chance.random()
    if draw < 0.15:
        del copy[at]
    elif draw < 0.25:
        copy.insert(chance.place(len(copy)), copy[at])
    elif draw < 0.35:
        new = _odd(chance, copy[at], words)
        copy.insert(chance.place(len(copy)), (_name(chance, words), new) if named else new)
    elif draw < 0.45 and named:
        copy[at] = (_name(chance, words), copy[at][1])
    elif draw < 0.5 and named:
        # The member stays and another of the same name says something else.
        copy.insert(chance.place(len(copy)), (copy[at][0], _odd(chance, copy[at][1], words)))
    elif named:
        copy[at] = (copy[at][0], _changed_once(chance, copy[at][1], words))
    else:
        copy[at] = _changed_once(chance, copy[at], words)
    return copy


def _name(chance: Chance, words: Sequence[str]) -> str:
    if words and chance.often(0.7):
        return chance.one(words)
    return chance.one(("", "a", "\0", "kid ", "ISS", "\ud800", "__proto__", "a" * 300))


def _odd(chance: Chance, tree: Tree, words: Sequence[str]) -> Tree:
    draw = chance.random()
    if words and draw < 0.2:
        return chance.one(words)
    if draw < 0.3:
        return [tree]
    if draw < 0.4:
        return Members([(_name(chance, words), tree)])
    if draw < 0.45:
        for _ in range(chance.one(_DEEP)):
            tree = [tree] if chance.often(0.5) else Members([("a", tree)])
        return tree
    if draw < 0.55 and isinstance(tree, int | float):
        return tree + chance.one((-1, 1, 0.5, -3600, 3600, 2**53, 1e300))
    return chance.one(_ODD)


def _changed_text(chance: Chance, text: str) -> str:
    at = chance.place(len(text))
    match chance.randrange(5):
        case 0:
            return text[:at] + text[at + chance.few(8) :]
        case 1:
            return text[:at] + str(chance.one(_ODD)) + text[at:]
        case 2:
            return text.swapcase()
        case 3:
            return (text * chance.one((2, 3, 40)))[:_LONGEST_TEXT]
        case _:
            return text[:at] + chr(chance.randrange(0x250)) + text[at + 1 :]


def _write(chance: Chance, tree: Tree, write: Callable[[str], object], *, oddly: bool) -> None:
    def gap() -> None:
        if oddly and chance.often(0.1):
            write(_space(chance))

    # By hand and not by recursion: a tree may be deeper than Python's stack.
    open_ends: list[Tree | _Close] = [tree]
    while open_ends:
        node = open_ends.pop()
        gap()
        if isinstance(node, _Close | Raw):
            write(str(node))
        elif isinstance(node, Members):
            write("{")
            open_ends.append(_Close("}"))
            for number, (name, value) in reversed(tuple(enumerate(node))):
                comma = "," if number else ""
                open_ends += [value, _Close(f"{comma}{_string(chance, name, oddly=oddly)}:")]
        elif isinstance(node, list):
            write("[")
            open_ends.append(_Close("]"))
            for number, value in reversed(tuple(enumerate(node))):
                open_ends += [value, _Close("," if number else "")]
        elif isinstance(node, str):
            write(_string(chance, node, oddly=oddly))
        else:
            write(json.dumps(node))


class _Close(str):
    """Text that is still to be written behind what is open."""

    __slots__ = ()


def _string(chance: Chance, text: str, *, oddly: bool) -> str:
    plain = json.dumps(text, ensure_ascii=not text.isprintable() or chance.often(0.5))
    if not oddly or not text or len(text) > 300:
        return plain
    return '"' + "".join(_character(chance, character) for character in text) + '"'


def _character(chance: Chance, character: str) -> str:
    if character in '"\\' or not character.isprintable() or ord(character) > 0xFFFF:
        return json.dumps(character)[1:-1]
    if character == "/" and chance.often(0.5):
        return "\\/"
    return f"\\u{ord(character):04{chance.one('xX')}}" if chance.often(0.1) else character


def _space(chance: Chance) -> str:
    return "".join(chance.some((" ", "\t", "\n", "\r", "  ", "\v", "\u00a0"), 2))

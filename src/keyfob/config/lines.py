# SPDX-License-Identifier: Apache-2.0
"""The line of every key and table of a TOML document (toml.io, version 1.0).

``tomllib`` tells values but not where they stand. This walks over a document that ``tomllib`` has
accepted, so it checks nothing: it only has to know where each value ends.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final

__all__ = ["Path", "locate"]

Path = tuple[str | int, ...]
"""A way through a document: names of keys, and places in arrays counted from 0."""

# Between values: blanks, line ends, comments, and the comma of arrays and inline tables.
_GAP: Final = re.compile(r"(?:[ \t\r\n,]++|#[^\n]*+)*+")
_BLANK: Final = re.compile(r"[ \t]*+")
_KEY: Final = re.compile(r"""[A-Za-z0-9_-]++|"(?:[^"\\]|\\.)*+"|'[^']*+'""")
_STRING: Final = re.compile(
    # A quote or two may stand before the three that end the text, and belong to it.
    r'"""(?:[^"\\]++|\\.|"{1,2}(?!"))*+"{3,5}'
    r"|'''(?:[^']++|'{1,2}(?!'))*+'{3,5}"
    r'|"(?:[^"\\]|\\.)*+"'
    r"|'[^']*+'",
    re.DOTALL,
)
# Numbers, dates and truths. A date may hold a blank, so only what cannot be in one ends it.
_BARE: Final = re.compile(r"[^,\]}#\r\n]++")


def locate(text: str) -> dict[Path, int]:
    """Find the line on which every key, table and array element of a document begins.

    Args:
        text: A document that ``tomllib.loads`` accepts.

    Returns:
        For every path its first line, counted from 1. A table that only its inner tables make
        stands where the first of them is.
    """
    walk = _Walk(text)
    walk.document()
    return walk.found


class _Walk:
    def __init__(self, text: str) -> None:
        self.found: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._counts: dict[Path, int] = {}
        """How many ``[[x]]`` there were, for every array of tables."""

    def document(self) -> None:
        table: Path = ()
        while self._past(_GAP) < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        start = self._at
        double = self._text.startswith("[[", start)
        self._at += 2 if double else 1
        *outer, last = self._keys()
        self._at += 2 if double else 1
        path: Path = ()
        for name in outer:
            path = self._into((*path, name), start)
        path = (*path, last)
        self._note(path, start)
        if double:
            self._counts[path] = self._counts.get(path, 0) + 1
        return self._into(path, start) if double else path

    def _into(self, path: Path, start: int) -> Path:
        """Return where the inside of a table is: for an array of tables, in its last element."""
        self._note(path, start)
        if path in self._counts:
            path = (*path, self._counts[path] - 1)
            self._note(path, start)
        return path

    def _pair(self, table: Path) -> None:
        start = self._at
        path = table
        for name in self._keys():
            path = (*path, name)
            self._note(path, start)
        self._at += 1  # the equals sign
        self._past(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        match self._text[self._at]:
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case '"' | "'":
                self._past(_STRING)
            case _:
                self._past(_BARE)

    def _array(self, path: Path) -> None:
        self._at += 1
        place = 0
        while self._text[self._past(_GAP)] != "]":
            self._note((*path, place), self._at)
            self._value((*path, place))
            place += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while self._text[self._past(_GAP)] != "}":
            self._pair(path)
        self._at += 1

    def _keys(self) -> list[str]:
        names = []
        while True:
            self._past(_BLANK)
            start = self._at
            names.append(_name(self._text[start : self._past(_KEY)]))
            if self._text[self._past(_BLANK)] != ".":
                return names
            self._at += 1

    def _past(self, pattern: re.Pattern[str]) -> int:
        if match := pattern.match(self._text, self._at):
            self._at = match.end()
        return self._at

    def _note(self, path: Path, at: int) -> None:
        self.found.setdefault(path, bisect_right(self._ends, at - 1) + 1)


def _name(key: str) -> str:
    if key.startswith('"'):
        (name,) = tomllib.loads(f"{key} = 0")
        return name
    return key.strip("'")

# SPDX-License-Identifier: Apache-2.0
"""Writes values as TOML in every style there is, and notes the line of each as it goes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
Path = tuple[str | int, ...]
Table = dict[str, Any]

_CHARACTERS = st.sampled_from("ab\"'\\#=[]{},. \t\né.")
TEXTS = st.text(_CHARACTERS, max_size=8)
KEYS = st.one_of(st.sampled_from(["a", "b", "a.b", "", "-1", "é", 'q"', "n\n"]), TEXTS)
_SCALARS = st.one_of(TEXTS, st.integers(-99, 99), st.booleans(), st.just(1.5))
TABLES: st.SearchStrategy[Table] = st.dictionaries(
    KEYS,
    st.recursive(
        _SCALARS,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(KEYS, inner, max_size=3),
            st.lists(st.dictionaries(KEYS, inner, max_size=3), min_size=1, max_size=3),
        ),
        max_leaves=8,
    ),
    max_size=4,
)
_GAPS = st.sampled_from(["", " ", "\n", "# ] , } \" '''\n", "\n\t# [x]\n", "\r\n"])


@dataclass
class Writer:
    """A document that is being written."""

    draw: Draw
    text: str = ""
    lines: dict[Path, int] = field(default_factory=dict)

    def root(self, table: Table) -> None:
        self.table((), (), table)

    def table(
        self, path: Path, header: tuple[str, ...], table: Table, *, headless: bool = False
    ) -> None:
        """Write what is in a table, then the tables in it that have headers of their own.

        Where the table is headless, that is all of them.
        """
        later = {}
        for name, value in table.items():
            if self._may_have_header(value) and (headless or self.draw(st.booleans())):
                later[name] = value
            else:
                self._pair(path, (), name, value)
                self.text += self.draw(st.sampled_from(["\n", " # x = 1\n", "\r\n", "\n\n"]))
        for name, value in later.items():
            inner = (*path, name)
            if isinstance(value, dict):
                headless = (
                    bool(value)
                    and all(map(self._may_have_header, value.values()))
                    and self.draw(st.booleans())
                )
                if not headless:
                    self._header(inner, (*header, name), "[", "]")
                self.table(inner, (*header, name), value, headless=headless)
                continue
            for place, row in enumerate(value):
                self._note(inner)
                self._header((*inner, place), (*header, name), "[[", "]]")
                self.table((*inner, place), (*header, name), row)

    def _may_have_header(self, value: object) -> bool:
        tables = [value] if isinstance(value, dict) else value
        return (
            isinstance(tables, list)
            and bool(tables)
            and all(isinstance(table, dict) for table in tables)
        )

    def _header(self, path: Path, header: tuple[str, ...], left: str, right: str) -> None:
        for end in range(1, len(path) + 1):
            self._note(path[:end])
        keys = ".".join(map(self._key, header))
        self.text += f"{left} {keys}{right}{self.draw(st.sampled_from(['', ' # ]']))}\n"

    def _pair(self, table: Path, outer: tuple[str, ...], name: str, value: object) -> None:
        """Write ``key = value``, or a table in it as several with dotted keys."""
        if isinstance(value, dict) and value and self.draw(st.booleans()):
            for place, (inner, one) in enumerate(value.items()):
                self.text += "\n" if place else ""
                self._pair(table, (*outer, name), inner, one)
            return
        names = (*outer, name)
        for end in range(1, len(names) + 1):
            self._note((*table, *names[:end]))
        self.text += " . ".join(map(self._key, names)) + self.draw(st.sampled_from([" = ", "="]))
        self._value((*table, *names), value)

    def _value(self, path: Path, value: object) -> None:
        if isinstance(value, dict):
            self.text += "{"
            for place, (name, inner) in enumerate(value.items()):
                self.text += ", " if place else ""
                self._note((*path, name))
                self.text += f"{self._key(name)} = "
                self._value((*path, name), inner)
            self.text += "}"
        elif isinstance(value, list):
            self.text += "["
            for place, inner in enumerate(value):
                self.text += ("," if place else "") + self.draw(_GAPS)
                self._note((*path, place))
                self._value((*path, place), inner)
            self.text += self.draw(_GAPS) + "]"
        else:
            self.text += self._scalar(value)

    def _scalar(self, value: object) -> str:
        if isinstance(value, str):
            return str(self.draw(st.sampled_from(_spellings(value))))
        return str(value).lower()

    def _key(self, name: str) -> str:
        spellings = [json.dumps(name)]
        if re.fullmatch("[A-Za-z0-9_-]+", name):
            spellings.append(name)
        if "'" not in name and "\n" not in name:
            spellings.append(f"'{name}'")
        return str(self.draw(st.sampled_from(spellings)))

    def _note(self, path: Path) -> None:
        self.lines.setdefault(path, self.text.count("\n") + 1)


def _spellings(text: str) -> list[str]:
    escaped = text.replace("\\", "\\\\").replace('"""', '""\\"')
    found = [json.dumps(text), f'"""\n{escaped}"""', f'"""\\\n  \n {_blank_first(escaped)}"""']
    if "'" not in text and "\n" not in text:
        found.append(f"'{text}'")
    if "'''" not in text:
        found.append(f"'''\n{text}'''")
    if not text.startswith("\n"):
        found.append(f'"""{escaped}"""')
    return found


def _blank_first(escaped: str) -> str:
    """Keep blanks that a line-ending backslash before them would swallow."""
    return {" ": "\\u0020", "\t": "\\t", "\n": "\\n"}.get(escaped[:1], escaped[:1]) + escaped[1:]

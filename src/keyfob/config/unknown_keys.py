# SPDX-License-Identifier: Apache-2.0
"""A key that there is not is an error that names the nearest valid one."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, Final, get_args, get_origin, get_type_hints

import msgspec

from keyfob.config.sections import Document
from keyfob.config.source import Source

__all__ = ["hints_of", "inner_section", "nearest", "refuse_unknown_keys"]

_Struct = type[msgspec.Struct]

# Keys that there were once, and what to write today.
_FORMER: Final = {
    "issuer.native_scopes": 'is gone; write rights = ["scopes"] where it was true, rights = []'
    " where it was false",
}


def refuse_unknown_keys(source: Source) -> None:
    """Look at every key of a file.

    Raises:
        ConfigError: The first that there is not, and what to write.
    """
    for key, known in _unknown_keys(source.data, Document):
        raise source.wrong(key, _FORMER.get(_without_places(key)) or _advice(key, known))


def nearest(word: str, known: Collection[str]) -> str:
    """Say which of the valid words was meant, or all of them where none is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return near[0] if near else f"one of {', '.join(known)}"


@cache
def hints_of(struct: _Struct) -> Mapping[str, Any]:
    """Return the types of a section's keys."""
    return get_type_hints(struct)


def inner_section(kind: object) -> _Struct | None:
    """Return the section that a key of this type leads into, alone or in a list."""
    for inner in (kind, *get_args(kind)):
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            return inner
    return None


def _advice(key: str, known: Collection[str]) -> str:
    word = key.rpartition(".")[2]
    near = nearest(word, known)
    if near not in known:
        for heading, keys in _sections(Document):
            if word in keys:
                return f"there is no such key here; write it in {heading}"
    return f"there is no such key; write {near}"


def _without_places(key: str) -> str:
    return ".".join(part for part in key.split(".") if not part.isdigit())


def _unknown_keys(
    data: Mapping[str, Any], struct: _Struct, prefix: str = ""
) -> Iterator[tuple[str, tuple[str, ...]]]:
    hints = hints_of(struct)
    for key, value in data.items():
        if key not in hints:
            yield prefix + key, struct.__struct_fields__
        elif section := inner_section(hints[key]):
            for step, row in _rows(value):
                yield from _unknown_keys(row, section, f"{prefix}{key}{step}.")


def _rows(value: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the tables of a section, or of a list of them, each with the step that leads there."""
    if isinstance(value, dict):
        yield "", value
    elif isinstance(value, list):
        for place, row in enumerate(value):
            if isinstance(row, dict):
                yield f".{place}", row


def _sections(struct: _Struct, path: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """Walk every section with the heading that it has in a file."""
    for key, kind in hints_of(struct).items():
        if section := inner_section(kind):
            inner = f"{path}.{key}" if path else key
            listed = get_origin(kind) is tuple
            yield (f"[[{inner}]]" if listed else f"[{inner}]"), section.__struct_fields__
            yield from _sections(section, inner)

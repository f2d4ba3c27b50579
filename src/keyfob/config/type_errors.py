# SPDX-License-Identifier: Apache-2.0
"""A value of the wrong type is an error that says what to write instead."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from keyfob.config.sections import Document
from keyfob.config.source import Source
from keyfob.config.unknown_keys import hints_of, inner_section
from keyfob.errors import ConfigError

__all__ = ["NO_PATH", "type_error"]

NO_PATH: Final = "Expected `path`, got `none`"
"""What stands for msgspec's own words where a value is no path."""

# By msgspec's names of types: what a value is, and what to write for it.
_KINDS: Final = {
    "int": ("a whole number", "a whole number without quotes"),
    "float": ("a number", "a number without quotes"),
    "str": ("a text", "a text in quotes"),
    "bool": ("true or false", "true or false without quotes"),
    "array": ("a list", 'a list in brackets, such as ["…"]'),
    "object": ("a section", "a section of its own"),
    "path": ("a path", "a path in quotes, or leave the key out"),
    "none": ("no path", ""),
}
_EXPECTED: Final = re.compile(r"Expected `([a-z]+)[^`]*`, got `(\w+)`")
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")


def type_error(source: Source, error: msgspec.ValidationError) -> ConfigError:
    """Say in our own words what msgspec found."""
    message, _, where = str(error).partition(" - at ")
    places = re.sub(r"\[(\d+)\]", r".\1", where.strip("`").removeprefix("$"))
    key, unnamed, rest = places.removeprefix(".").partition("[...]")
    if unnamed:
        key = f"{key}.{_culprit(source, key)}{rest}"
    if missing := _MISSING.fullmatch(message):
        key = f"{key}.{missing[1]}"
        value = '["…"]' if get_origin(_type_at(key)) is tuple else '"…"'
        return source.wrong(key, f"is missing; write {missing[1]} = {value} in this section")
    if message.startswith("Invalid enum value"):
        choices = " or ".join(f'"{choice}"' for choice in _choices(key))
        return source.wrong(key, f"is none of the words that are known here; write {choices}")
    if found := _EXPECTED.fullmatch(message):
        wanted = _heading(key) or _KINDS.get(found[1], ("", found[1]))[1]
        got = _KINDS.get(found[2], ("something else", ""))[0]
        return source.wrong(key, f"is {got}; write {wanted}")
    return source.wrong(key, f"{message}; write what docs/configuration.md says of it")


def _culprit(source: Source, key: str) -> str:
    """Return the key of a table with free keys whose value is of the wrong type."""
    table: Any = source.data
    for part in key.split("."):
        table = table[int(part) if isinstance(table, list) else part]
    kind = get_args(_type_at(key))[1]
    return next(str(name) for name, value in table.items() if not _is(value, kind))


def _is(value: object, kind: Any) -> bool:  # noqa: ANN401 - a type, or what typing makes of several
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _type_at(key: str) -> Any:  # noqa: ANN401 - a type, or what typing makes of several
    kind: Any = Document
    for part in key.split("."):
        if get_origin(kind) is Mapping:
            kind = get_args(kind)[1]
        elif part.isdigit():
            # The digits may be part of a quoted key that holds a dot.
            kind = next(iter(get_args(kind)), kind)
        elif (struct := inner_section(kind)) is not None:
            kind = hints_of(struct).get(part)
    return kind


def _choices(key: str) -> tuple[str, ...]:
    kind = _type_at(key)
    return get_args(kind if get_origin(kind) is Literal else get_args(kind)[0])


def _heading(key: str) -> str:
    """Return how the section is headed that a key leads into, if it leads into one."""
    kind = _type_at(key)
    if inner_section(kind) is None:
        return ""
    name = ".".join(part for part in key.split(".") if not part.isdigit())
    listed = get_origin(kind) is tuple or key[-1].isdigit()
    return f"[[{name}]] above its keys" if listed else f"[{name}] above its keys"

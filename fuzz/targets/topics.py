# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``mqtt.topics``: parse, matches, covers, witness, overlaps, expand."""

from __future__ import annotations

import re
from typing import Final

from fuzz import pieces
from fuzz.chance import Chance
from fuzz.target import Target, demand
from fuzz.topic_texts import drawn_filter, drawn_name, filter_of, name_of, near
from keyfob.errors import TopicError
from keyfob.mqtt.topics import TopicFilter, TopicName, covers, expand, matches, overlaps, witness

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "Parsing raises nothing but TopicError and loses nothing, matches agrees with a regular "
    "expression, covers and overlaps agree with matches on every name and with a witness, and an "
    "expanded value stays within its level."
)
_LONG_PATTERN: Final = 2_000  # characters, beyond which compiling takes longer than all the rest
_VALUES: Final = ("dev1", "", "a/b", "+", "#", "a#", "$SYS", "\0", "\ud800", "ä" * 128, "{device}")
_TEMPLATES: Final = (
    "{device}",
    "d/{device}/up",
    "{device}{device}/#",
    "x{device}/+",
    "$share/{device}/a",
    "$share/g/{device}",
    "{claim:a}/{device}",
    "{other}",
    "{",
    "a/{device}#",
)


def make(chance: Chance) -> bytes:
    """Draw two filters, a name, a template and a value."""
    first = drawn_filter(chance)
    second = near(chance, first) if chance.often(0.6) else drawn_filter(chance)
    name = near(chance, second) if chance.often(0.3) else drawn_name(chance)
    value = chance.one(_VALUES) if chance.often(0.5) else drawn_name(chance)[:300]
    return pieces.pack(first, second, name, chance.one(_TEMPLATES), value)


def check(data: bytes) -> str:
    """Ask everything about two filters and a name."""
    first, second, name_text, template, value = pieces.unpack(data)
    _check_expansion(template, value)
    f, g, name = filter_of(first), filter_of(second), name_of(name_text)
    for text, parsed in ((first, f), (second, g), (name_text, name)):
        demand(parsed is None or str(parsed) == text, "parsing loses something")
    if f is not None and name is not None and len(first) < _LONG_PATTERN:
        demand(matches(f, name) == _matches_by_text(f, name.value), "matches differently")
    if f is None or g is None:
        return "refused"
    _check_pair(f, g)
    if name is None:
        return "two filters"
    both = matches(f, name) and matches(g, name)
    demand(not both or overlaps(f, g), "a name is matched by both, and they do not overlap")
    for granted, wanted in ((f, g), (g, f)):
        if covers(granted, wanted) and matches(wanted, name):
            demand(matches(granted, name), "covered, but a name is not matched")
    return "all matched" if both else "all"


def _check_pair(f: TopicFilter, g: TopicFilter) -> None:
    demand(covers(f, f) and overlaps(f, f), "a filter does not cover itself")
    demand(overlaps(f, g) == overlaps(g, f), "overlapping depends on the order")
    for granted, wanted in ((f, g), (g, f)):
        shown = witness(granted, wanted)
        groups = granted.share_group in (None, wanted.share_group)
        demand(covers(granted, wanted) == (groups and shown is None), "covers and witness differ")
        demand(not covers(granted, wanted) or overlaps(granted, wanted), "covered, yet disjoint")
        if shown is not None:
            demand(matches(wanted, shown) and not matches(granted, shown), "a false witness")


def _matches_by_text(f: TopicFilter, name: str) -> bool:
    """Match as MQTT 5.0 section 4.7 says it, with nothing but the text."""
    if f.value[0] in "+#" and name[0] == "$":
        return False
    if f.value == "#":
        return True
    below = f.value.endswith("/#")
    levels = f.value.removesuffix("/#").split("/")
    pattern = "/".join("[^/]*" if level == "+" else re.escape(level) for level in levels)
    return re.fullmatch(pattern + ("(/.*)?" if below else ""), name, re.DOTALL) is not None


def _check_expansion(template: str, value: str) -> None:
    try:
        expanded = expand(template, {"device": value, "claim:a": "x"})
    except TopicError:
        return
    demand("/" not in value and "+" not in value and "#" not in value, "a value with a meaning")
    plain = expand(template, {"device": "v", "claim:a": "x"})
    demand(len(expanded.levels) == len(plain.levels), "a value adds a level")
    demand(
        not str(expanded).startswith("$") or template.startswith("$share/"),
        "a value reaches the names that begin with $",
    )
    probe = TopicName.parse("/".join("p" if x in "+#" else x for x in expanded.levels))
    demand(matches(expanded, probe), "the expanded filter does not match its own text")


TARGET = Target.of("topics", _INVARIANT, make, check)

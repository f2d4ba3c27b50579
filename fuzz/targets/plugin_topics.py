# SPDX-License-Identifier: Apache-2.0
"""Fuzzes topic.c against ``mqtt.topics``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fuzz import pieces
from fuzz.chance import Chance
from fuzz.plugin_parts import Asked, PluginParts, opened, utf8
from fuzz.target import Check, Target, demand
from fuzz.topic_texts import drawn_filter, drawn_name, filter_of, name_of, near
from keyfob.mqtt.topics import covers, matches, overlaps

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "C and Python take the same texts for filters and for names, and match, cover and overlap "
    "alike."
)


def make(chance: Chance) -> bytes:
    """Draw two filters and a name."""
    first = drawn_filter(chance)
    second = near(chance, first) if chance.often(0.6) else drawn_filter(chance)
    name = near(chance, second) if chance.often(0.3) else drawn_name(chance)
    return pieces.pack(first, second, name)


@contextmanager
def _opened() -> Iterator[Check]:
    with opened() as parts:
        yield lambda data: _check(parts, data)


def _check(parts: PluginParts, data: bytes) -> str:
    texts = pieces.unpack(data)
    first, second, third = map(utf8, texts)
    f, g, name = filter_of(texts[0]), filter_of(texts[1]), name_of(texts[2])
    expected: dict[Asked, bool] = {
        ("filter", first): f is not None,
        ("filter", second): g is not None,
        ("filter", third): filter_of(texts[2]) is not None,
        ("name", third): name is not None,
        ("name", first): name_of(texts[0]) is not None,
    }
    if f is not None and g is not None:
        expected |= {
            ("covers", first, second): covers(f, g),
            ("covers", second, first): covers(g, f),
            ("overlaps", first, second): overlaps(f, g),
            ("overlaps", second, first): overlaps(g, f),
        }
    if f is not None and name is not None:
        expected["matches", first, third] = matches(f, name)
    answers = parts.ask_all(list(expected))
    for (question, wanted), answer in zip(expected.items(), answers, strict=True):
        demand(answer == str(int(wanted)), f"C says {answer} to {question!r:.300}, Python {wanted}")
    return "related" if any(list(expected.values())[5:]) else "unrelated" if f and g else "refused"


TARGET = Target(name="plugin-topics", invariant=_INVARIANT, make=make, open=_opened)

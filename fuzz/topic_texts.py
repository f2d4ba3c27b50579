# SPDX-License-Identifier: Apache-2.0
"""Topic names and filters of few and odd levels, so that they meet, and texts that are neither."""

from __future__ import annotations

from typing import Final

from fuzz.chance import Chance
from keyfob.errors import TopicError
from keyfob.mqtt.topics import TopicFilter, TopicName

__all__ = ["drawn_filter", "drawn_name", "filter_of", "name_of", "near"]

_LEVELS: Final = ("", "a", "b", "$", "$S", "$share", "aa", "ä", "devices", "devices1", "0123456789")
_WILD: Final = (*_LEVELS, "+", "+", "+", "#", "#")
_ODD: Final = (
    "+",
    "#",
    "/",
    "\0",
    "\ud800",
    "$share/",
    "$share/g/",
    "//",
    " ",
    "\x7f",
    "\U0001f511",
)
_LONG: Final = (21_845, 65_534, 65_535, 65_536)


def drawn_name(chance: Chance) -> str:
    """Draw a topic name, now and then a text that is none."""
    return _oddly(chance, "/".join(chance.one(_LEVELS) for _ in range(chance.few(6))))


def drawn_filter(chance: Chance) -> str:
    """Draw a topic filter, now and then a shared one, or a text that is none."""
    levels = [chance.one(_WILD) for _ in range(chance.few(6))]
    if "#" in levels and chance.often(0.9):
        del levels[levels.index("#") + 1 :]
    text = "/".join(levels)
    if chance.often(0.2):
        text = f"$share/{chance.one(('g', 'h', 'g', ''))}/{text}"
    return _oddly(chance, text)


def near(chance: Chance, text: str) -> str:
    """Draw a filter or name that differs from another in a level or two."""
    levels = text.split("/")
    for _ in range(chance.few(3)):
        at = chance.place(len(levels))
        levels[at : at + chance.randrange(2)] = chance.some(_WILD, 2)
    return "/".join(levels)


def filter_of(text: str) -> TopicFilter | None:
    """Return the topic filter that a text is, if it is one."""
    try:
        return TopicFilter.parse(text)
    except TopicError:
        return None


def name_of(text: str) -> TopicName | None:
    """Return the topic name that a text is, if it is one."""
    try:
        return TopicName.parse(text)
    except TopicError:
        return None


def _oddly(chance: Chance, text: str) -> str:
    if chance.often(0.9):
        return text
    at = chance.place(len(text))
    if chance.often(0.9):
        return text[:at] + chance.one(_ODD) + text[at:]
    # As long as MQTT allows, or not quite: in bytes, whatever the characters.
    piece = chance.one(("a", "/", "ä", "a/", "+/", "\U0001f511"))
    return text + piece * (chance.one(_LONG) // len(piece.encode("utf-8")))

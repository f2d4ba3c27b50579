# SPDX-License-Identifier: Apache-2.0
"""Topic names and topic filters: what MQTT 5.0 section 4.7 and 4.8 say, decided exactly.

Theory of operation.
A topic name is a non-empty text without wildcards; ``/`` cuts it into levels, and an empty level
is a level like any other.
A topic filter is the set of names that it matches.
Four rules make that set odd at its edges, and the questions below are decided on the set, never on
the look of the text:

1. ``#`` stands for the level before it and everything below: ``a/#`` matches ``a``.
2. A filter that begins with a wildcard matches no name that begins with ``$``.
3. The empty name does not exist. So ``#`` is the same set as ``+/#``, and ``/#`` is the same set as
   ``/+/#``: what would set them apart is a name that cannot be.
4. ``$share/<group>/`` is not part of the set; it says who shares the messages.

With rule 3 applied first (``shape``), a filter is a row of fixed levels, each a text or ``+``, and
is either closed (exactly that many levels) or open (that many or more).
Then inclusion and intersection can be read off level by level.
The limit of 65,535 bytes never changes an inclusion: the names that tell two filters apart need no
more bytes than the filter that matches them, because each wildcard of a filter costs one byte and
a level of one byte can stand in its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from keyfob.errors import TopicError

__all__ = [
    "MAX_BYTES",
    "MAX_PLACEHOLDER_BYTES",
    "TopicFilter",
    "TopicName",
    "covers",
    "expand",
    "matches",
    "overlaps",
    "placeholders",
    "shape",
    "witness",
]

MAX_BYTES: Final = 65_535
"""The longest UTF-8 string that MQTT can carry (MQTT 5.0 section 1.5.4)."""

MAX_PLACEHOLDER_BYTES: Final = 255
"""The longest value that a template takes in: a subject's in OpenID Connect Core section 2."""

_SHARE: Final = "$share"
_WILDCARD: Final = re.compile("[+#]")
_NEVER_IN_A_VALUE: Final = re.compile("[/+#\0]")
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class TopicName:
    """A valid topic name: what a message is published to (MQTT 5.0 section 4.7).

    Args:
        value: The name, exactly as it travels; it is never normalised.

    Raises:
        TopicError: ``value`` is not a topic name.
    """

    value: str
    levels: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_text(self.value, "topic name")
        if _WILDCARD.search(self.value):
            raise TopicError(f"topic name {_shown(self.value)} contains a wildcard")
        object.__setattr__(self, "levels", tuple(self.value.split("/")))

    def __str__(self) -> str:
        return self.value

    @classmethod
    def parse(cls, text: str) -> TopicName:
        """Return the topic name that ``text`` is; ``str`` is the inverse.

        Raises:
            TopicError: Empty, too long, ill-formed, or with a wildcard ([MQTT-4.7.0-1],
                [MQTT-4.7.3-1] to [MQTT-4.7.3-3]).
        """
        return cls(text)


@dataclass(frozen=True, slots=True)
class TopicFilter:
    """A valid topic filter, with the group that shares it, if any (MQTT 5.0 sections 4.7, 4.8).

    Args:
        value: The filter without ``$share/<group>/``.
        share_group: The share name, or None for an ordinary subscription.

    Raises:
        TopicError: ``value`` or ``share_group`` is not what MQTT allows.
    """

    value: str
    share_group: str | None = None
    levels: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_text(self.value if self.share_group is None else str(self), "topic filter")
        levels = tuple(self.value.split("/"))
        if levels == ("",):
            raise TopicError(f"topic filter {_shown(str(self))} is not $share/<group>/<filter>")
        if levels[0] == _SHARE:
            raise TopicError(f"topic filter {_shown(self.value)} is not $share/<group>/<filter>")
        if "+" in self.value or "#" in self.value:
            _check_wildcards(self.value, levels)
        if self.share_group is not None:
            _check_share_group(self.share_group)
        object.__setattr__(self, "levels", levels)

    def __str__(self) -> str:
        if self.share_group is None:
            return self.value
        return f"{_SHARE}/{self.share_group}/{self.value}"

    @property
    def has_wildcard(self) -> bool:
        """Whether a level is ``+`` or ``#``; without one, the filter matches one name, its text."""
        return self.levels[-1] == "#" or "+" in self.levels

    @classmethod
    def parse(cls, text: str) -> TopicFilter:
        """Return the topic filter that ``text`` is; ``str`` is the inverse.

        Raises:
            TopicError: Empty, too long, ill-formed, with a misplaced wildcard ([MQTT-4.7.1-1],
                [MQTT-4.7.1-2]), or a malformed shared subscription ([MQTT-4.8.2-1],
                [MQTT-4.8.2-2]). What begins with the level ``$share`` is one or is refused.
        """
        group, inner = _cut_share(text)
        return cls(inner, group)


def matches(topic_filter: TopicFilter, name: TopicName) -> bool:
    """Tell whether ``topic_filter`` matches ``name``, whoever shares it (MQTT 5.0 section 4.7)."""
    wanted, given = topic_filter.levels, name.levels
    if wanted[0] in ("+", "#") and name.value[0] == "$":
        return False
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index == len(given) or (level != "+" and level != given[index]):
            return False
    return len(wanted) == len(given)


def covers(granted: TopicFilter, requested: TopicFilter) -> bool:
    """Tell whether ``granted`` matches every name that ``requested`` matches.

    This is what a SUBSCRIBE needs (RFC 9431 section 3.3): ``a/+`` does not cover ``a/#``, and ``#``
    does not cover ``$SYS/#``.
    A granted filter with a share group covers requests of that group only; one without covers a
    request whatever its group.
    """
    if granted.share_group is not None and granted.share_group != requested.share_group:
        return False
    outer, outer_open = shape(granted)
    inner, inner_open = shape(requested)
    if len(outer) > len(inner):
        return False
    if not outer_open and (inner_open or len(outer) < len(inner)):
        return False
    if outer[0] == "+" and inner[0].startswith("$"):
        return False
    return all(level in ("+", inner[index]) for index, level in enumerate(outer))


def witness(granted: TopicFilter, requested: TopicFilter) -> TopicName | None:
    """Return a name that ``requested`` matches and ``granted`` does not, or None if there is none.

    Share groups are left out: they are about who receives a message, not about which.
    So ``covers`` is true if and only if the groups agree and there is no witness.
    """
    outer, _ = shape(granted)
    inner, inner_open = shape(requested)
    shortest = [
        _other_than(outer[index : index + 1]) if level == "+" else level
        for index, level in enumerate(inner)
    ]
    candidates = [shortest, [*shortest, "a"]] if inner_open else [shortest]
    for levels in candidates:
        name = TopicName("/".join(levels))
        if not matches(granted, name):
            return name
    return None


def overlaps(a: TopicFilter, b: TopicFilter) -> bool:
    """Tell whether some name is matched by both filters, whoever shares them.

    Names of any length count.
    So two filters whose only common names are longer than ``MAX_BYTES`` overlap as well, which can
    only make a deny rule refuse more.
    """
    left, left_open = shape(a)
    right, right_open = shape(b)
    if len(right) > len(left) and not left_open:
        return False
    if len(left) > len(right) and not right_open:
        return False
    if "+" in (left[0], right[0]) and "$" in (left[0][:1], right[0][:1]):
        return False
    return all(x == y or "+" in (x, y) for x, y in zip(left, right, strict=False))


def placeholders(template: str) -> tuple[str, ...]:
    """Return the names between braces in ``template``, in order, without the braces."""
    return tuple(_PLACEHOLDER.findall(template))


def expand(template: str, values: Mapping[str, str]) -> TopicFilter:
    """Put ``values`` into the ``{placeholders}`` of ``template`` and parse the result.

    A value only ever fills (a part of) one level: it cannot add a level, a wildcard or a share
    group, and cannot reach the names that begin with ``$``.

    Args:
        template: A topic filter with placeholders such as ``{device}`` or ``{claim:tenant}``.
        values: What each placeholder stands for, by its name without braces.

    Raises:
        TopicError: With code ``placeholder_refused`` for a placeholder that is unknown or whose
            value is empty, too long, contains ``/``, ``+``, ``#`` or U+0000, or begins with ``$``
            in the first level; with ``topic_invalid`` where the result is not a topic filter.
    """
    pieces = _PLACEHOLDER.split(template)
    texts, names = pieces[::2], pieces[1::2]
    if any(mark in text for text in texts for mark in "{}\0"):
        raise _refused(f"template {_shown(template)} has a stray brace or U+0000")
    filling = [_value_of(name, values) for name in names]
    # The share group is cut off before anything is put in, so that no value can make or move it.
    group, inner = _cut_share("\0".join(texts))
    in_group = 0 if group is None else group.count("\0")
    in_first_level = in_group + inner.partition("/")[0].count("\0")
    for index in range(in_group, in_first_level):
        if filling[index].startswith("$"):
            raise _refused(f"the value of {{{names[index]}}} begins with $ in the first level")
    return TopicFilter(
        _fill(inner, filling[in_group:]),
        None if group is None else _fill(group, filling[:in_group]),
    )


def shape(topic_filter: TopicFilter) -> tuple[tuple[str, ...], bool]:
    """Return the fixed levels and whether more may follow, with rule 3 applied."""
    levels = topic_filter.levels
    if levels[-1] != "#":
        return levels, False
    fixed = levels[:-1]
    if not fixed:
        return ("+",), True
    if fixed == ("",):
        return ("", "+"), True
    return fixed, True


def _other_than(level: tuple[str, ...]) -> str:
    return "b" if level == ("a",) else "a"


def _cut_share(text: str) -> tuple[str | None, str]:
    if not text.startswith(_SHARE + "/"):
        return None, text
    group, _, inner = text[len(_SHARE) + 1 :].partition("/")
    return group, inner


def _fill(marked: str, filling: list[str]) -> str:
    first, *rest = marked.split("\0")
    return first + "".join(value + text for value, text in zip(filling, rest, strict=True))


def _value_of(name: str, values: Mapping[str, str]) -> str:
    value = values.get(name)
    if value is None:
        raise _refused(f"there is no text for {{{name}}}")
    if not value:
        raise _refused(f"the value of {{{name}}} is empty")
    if _NEVER_IN_A_VALUE.search(value):
        raise _refused(f"the value of {{{name}}} contains /, +, # or U+0000")
    if _utf8_length(value) not in range(1, MAX_PLACEHOLDER_BYTES + 1):
        raise _refused(f"the value of {{{name}}} is too long or not well-formed")
    return value


def _check_text(text: str, what: str) -> None:
    if not text:
        raise TopicError(f"{what} is empty")
    if len(text) <= MAX_BYTES and text.isascii() and "\0" not in text:
        return
    if "\0" in text:
        raise TopicError(f"{what} {_shown(text)} contains U+0000")
    length = _utf8_length(text)
    if length < 0:
        raise TopicError(f"{what} {_shown(text)} contains a lone surrogate")
    if length > MAX_BYTES:
        raise TopicError(f"{what} {_shown(text)} is {length} bytes long, more than {MAX_BYTES}")


def _check_wildcards(text: str, levels: tuple[str, ...]) -> None:
    if "#" in levels[:-1]:
        raise TopicError(f"topic filter {_shown(text)} has # before its last level")
    if text.count("+") != levels.count("+") or text.count("#") != levels.count("#"):
        raise TopicError(f"topic filter {_shown(text)} has a wildcard inside a level")


def _check_share_group(group: str) -> None:
    if not group:
        raise TopicError("shared subscription has an empty share name")
    if "/" in group or _WILDCARD.search(group):
        raise TopicError(f"share name {_shown(group)} contains /, + or #")


def _utf8_length(text: str) -> int:
    """Return the number of bytes of ``text`` in UTF-8, or -1 where it has none."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return -1


def _shown(text: str) -> str:
    """Return ``text`` escaped and shortened, fit for one line of a log."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _refused(message: str) -> TopicError:
    return TopicError(message, code="placeholder_refused")

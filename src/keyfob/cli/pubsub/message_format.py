# SPDX-License-Identifier: Apache-2.0
"""How a message is printed: the format strings of mosquitto_sub's -F; no I/O.

A format is read once, and is an error then or never.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from keyfob.cli.pubsub.json_form import as_json
from keyfob.cli.pubsub.message import Message, PropertyValue
from keyfob.errors import ConfigError

__all__ = ["Format", "When", "parse_format", "payload_only", "verbose"]


@dataclass(frozen=True, slots=True)
class When:
    """A moment: seconds and nanoseconds since 1970, and what a clock on the wall here shows."""

    nanoseconds: int

    def told(self, form: str) -> str:
        """Return it as strftime writes it."""
        return time.strftime(form, time.localtime(self.nanoseconds // 1_000_000_000))

    @property
    def rest(self) -> str:
        """The nanoseconds within the second."""
        return f"{self.nanoseconds % 1_000_000_000:09d}"


Piece = Callable[[Message, When], bytes]


@dataclass(frozen=True, slots=True)
class Format:
    """How to print a message; call it."""

    pieces: tuple[Piece, ...]

    def __call__(self, message: Message, when: When) -> bytes:
        """Return what to print.

        Raises:
            ValueError: The payload should be JSON (``%J``), and is not.
        """
        return b"".join(piece(message, when) for piece in self.pieces)


def payload_only(message: Message, _: When) -> bytes | None:
    """Print the payload; nothing at all where it is empty."""
    return message.payload or None


def verbose(message: Message, _: When) -> bytes:
    """Print topic and payload (-v)."""
    return message.topic.encode() + b" " + (message.payload or b"(null)")


@dataclass(frozen=True, slots=True)
class _Field:
    """Between ``%`` and its letter: ``-``, ``0``, a width and, behind a dot, a longest width."""

    left: bool = False
    zero: bool = False
    width: int = 0
    most: int | None = None

    def number(self, value: int | None) -> bytes:
        if value is None:
            return self._pad() * self.width
        if self.left:
            return b"%-*d" % (self.width, value)
        return (b"%0*d" if self.zero else b"%*d") % (self.width, value)

    def text(self, value: bytes) -> bytes:
        cut = value if self.most is None else value[: self.most]
        return cut.ljust(self.width) if self.left else cut.rjust(self.width)

    def payload(self, value: bytes) -> bytes:
        """Lay a payload out: cut at the width, for it is the width that mosquitto_sub cuts at."""
        if not self.width:
            return value
        cut = value[: self.width]
        return cut.ljust(self.width) if self.left else cut.rjust(self.width, self._pad())

    def hexadecimal(self, value: bytes, *, upper: bool) -> bytes:
        # Half of the bytes that would fit as they are: so it is there, scripts count on it.
        whole = value[: min(len(value), self.width) // 2] if self.width else value
        shown = (whole.hex().upper() if upper else whole.hex()).encode()
        if self.left:
            return shown.ljust(self.width)
        return shown.rjust(self.width, self._pad())

    def _pad(self) -> bytes:
        return b"0" if self.zero else b" "


def parse_format(text: bytes, *, pretty: bool = False) -> Format:
    r"""Read a format.

    Args:
        text: Such as ``%t %p``; ``%``, ``@`` and ``\`` begin what is replaced.
        pretty: Whether JSON is on many lines.

    Raises:
        ConfigError: Something in it is not known, or its end is missing.
    """
    reading = _Reading(text, pretty=pretty)
    pieces: list[Piece] = []
    while (sign := reading.next()) is not None:
        if sign == b"%":
            pieces.append(reading.parameter())
        elif sign == b"@":
            pieces.append(reading.time())
        elif sign == b"\\":
            pieces.append(reading.escape())
        else:
            pieces.append(_constant(sign))
    return Format(tuple(pieces))


_ESCAPES: Final = {
    b"\\": b"\\",
    b"0": b"\0",
    b"a": b"\a",
    b"e": b"\033",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
}


class _Reading:
    """Reads a format from its beginning to its end."""

    def __init__(self, text: bytes, *, pretty: bool) -> None:
        self._text = text
        self._at = 0
        self._pretty = pretty

    def next(self) -> bytes | None:
        found = self._text[self._at : self._at + 1]
        self._at += 1
        return found or None

    def parameter(self) -> Piece:
        left = self._take(b"-")
        zero = self._take(b"0")
        width = self._digits() or 0
        most = (self._digits() or 0) if self._take(b".") else None
        field = _Field(left=left, zero=zero and not left, width=width, most=most)
        letter = self._needed("%")
        made = _parameter(letter, field, pretty=self._pretty)
        if made is None:
            raise ConfigError(f"-F: %{_shown(letter)} means nothing; see mosquitto_sub(1)")
        return made

    def time(self) -> Piece:
        letter = self._needed("@")
        if letter == b"@":
            return _constant(b"@")
        if letter == b"N":
            return lambda _, when: when.rest.encode()
        if not letter.isalpha() and letter not in {b"+", b"%"}:
            return _constant(b"%" + letter)
        form = "%" + letter.decode("ascii")
        return lambda _, when: when.told(form).encode()

    def escape(self) -> Piece:
        letter = self._needed("\\")
        if letter not in _ESCAPES:
            raise ConfigError(f"-F: \\{_shown(letter)} means nothing; see mosquitto_sub(1)")
        return _constant(_ESCAPES[letter])

    def _take(self, sign: bytes) -> bool:
        there = self._text[self._at : self._at + 1] == sign
        self._at += there
        return there

    def _digits(self) -> int | None:
        begin = self._at
        while self._text[self._at : self._at + 1].isdigit():
            self._at += 1
        if self._at - begin > 6:
            raise ConfigError("-F: a width has at most 6 digits")
        return int(self._text[begin : self._at]) if self._at > begin else None

    def _needed(self, sign: str) -> bytes:
        found = self.next()
        if found is None:
            raise ConfigError(f"-F: it ends within what {sign} begins")
        return found


def _shown(letter: bytes) -> str:
    return letter.decode("ascii", "backslashreplace")


def _constant(text: bytes) -> Piece:
    return lambda _message, _when: text


def _parameter(letter: bytes, field: _Field, *, pretty: bool) -> Piece | None:
    if letter in _NUMBERS:
        name = _NUMBERS[letter]
        return lambda message, _: field.number(_number(message.first(name)))
    simple = _SIMPLE.get(letter)
    if simple is not None:
        return lambda message, when: simple(field, message, when)
    if letter in {b"j", b"J"}:
        return lambda message, when: as_json(
            message, _stamp(when), parsed=letter == b"J", pretty=pretty
        ).encode()
    return None


def _stamp(when: When) -> str:
    """Return a time as it stands in JSON: microseconds, and the zone behind a Z that is not one."""
    return f"{when.told('%Y-%m-%dT%H:%M:%S')}.{when.rest[:6]}Z{when.told('%z')}"


def _number(value: PropertyValue | None) -> int | None:
    return value if isinstance(value, int) else None


def _string(value: PropertyValue | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else None


def _response_topic(field: _Field, message: Message) -> bytes:
    value = _string(message.first("ResponseTopic"))
    return b"" if value is None else field.text(value)


def _user_properties(message: Message) -> bytes:
    pairs = [value for _, value in message.properties if isinstance(value, tuple)]
    return b" ".join(f"{name}:{value}".encode() for name, value in pairs)


def _correlation(message: Message) -> bytes:
    value = message.first("CorrelationData")
    return value if isinstance(value, bytes) else b""


_NUMBERS: Final = {
    b"A": "TopicAlias",
    b"E": "MessageExpiryInterval",
    b"F": "PayloadFormatIndicator",
    b"S": "SubscriptionIdentifier",
}

_SIMPLE: Final[dict[bytes, Callable[[_Field, Message, When], bytes]]] = {
    b"%": lambda _f, _m, _w: b"%",
    b"C": lambda field, message, _: field.text(_string(message.first("ContentType")) or b""),
    b"D": lambda _f, message, _w: _correlation(message),
    b"I": lambda field, _, when: field.text(when.told("%Y-%m-%dT%H:%M:%S%z").encode()),
    b"l": lambda field, message, _: field.number(len(message.payload)),
    b"m": lambda field, message, _: field.number(message.identifier),
    b"P": lambda _f, message, _w: _user_properties(message),
    b"p": lambda field, message, _: field.payload(message.payload),
    b"q": lambda _f, message, _w: str(message.qos).encode(),
    b"R": lambda field, message, _: _response_topic(field, message),
    b"r": lambda _f, message, _w: str(int(message.retain)).encode(),
    b"t": lambda field, message, _: field.text(message.topic.encode()),
    b"U": lambda _f, _m, when: f"{when.nanoseconds // 1_000_000_000}.{when.rest}".encode(),
    b"x": lambda field, message, _: field.hexadecimal(message.payload, upper=False),
    b"X": lambda field, message, _: field.hexadecimal(message.payload, upper=True),
}

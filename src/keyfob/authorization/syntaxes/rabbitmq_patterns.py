# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ's wildcard patterns, and the MQTT topic filters that lie within them.

A pattern is text with ``*`` for any characters, also none; what stands between the stars is
URL-encoded. RabbitMQ takes each piece at the first place where it fits and never goes back, so
``a.*.b`` does not match ``a.x.b.c.b``.

A routing key is an MQTT topic with ``.`` for ``/``, and a topic that has a ``.`` itself shares the
key of one that has not. So within ``a.*.b`` there is no filter with a wildcard: ``a/+/b`` would
match ``a/x.b.c/b``.
Where a pattern ends with ``*`` that cannot happen. All that counts there is that the pieces come in
order, so each star may stand for whatever a level may.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from keyfob.errors import TopicError
from keyfob.mqtt.topics import TopicFilter

__all__ = ["Pattern"]

_BROKEN_ENCODING: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What no routing key of an MQTT topic name holds: / is written as a dot there, and + and # (and
# U+0000, which marks the stars below) stand in no topic name.
_IN_NO_KEY: Final = re.compile("[/+#\0]")
_STAR: Final = "\0"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed pattern.

    Args:
        pieces: The decoded texts before, between and behind the stars: one more than stars.
    """

    pieces: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Return the pattern that ``text`` is.

        Raises:
            TopicError: Its URL encoding is broken; RabbitMQ lets it match nothing.
        """
        return cls(tuple(_decoded(piece) for piece in text.split("*")))

    def matches(self, subject: str) -> bool:
        """Tell whether RabbitMQ takes ``subject`` for what the pattern means."""
        first, *rest = self.pieces
        if not subject.startswith(first):
            return False
        at = len(first)
        for place, piece in enumerate(rest):
            if not piece and place == len(rest) - 1:
                return True
            if at == len(subject):
                return False
            found = subject.find(piece, at)
            if found < 0:
                return False
            at = found + len(piece)
        return at == len(subject)

    @property
    def is_told_whole(self) -> bool:
        """Whether ``topic_filter`` says all that the pattern does, to those who use no dots."""
        stars = len(self.pieces) - 1
        before = self.pieces[0]
        return not stars or (stars == 1 and (not before or before.endswith(".")))

    def topic_filter(self) -> TopicFilter:
        """Return a filter of which every topic has a routing key that the pattern matches.

        Raises:
            TopicError: There is none, or none worth having.
        """
        if any(_IN_NO_KEY.search(piece) for piece in self.pieces):
            raise TopicError("no topic has a routing key with / + # or U+0000")
        if "" in self.pieces[1:-1]:
            raise TopicError("RabbitMQ reads two * in a row in a way of its own")
        if self.pieces[-1] and len(self.pieces) > 1:
            raise TopicError(
                "text follows the last *, and RabbitMQ takes the first place where it fits"
            )
        *levels, last = _STAR.join(self.pieces).replace(".", "/").split("/")
        made = ["+" if level == _STAR else level.replace(_STAR, "") for level in levels]
        if last == _STAR:
            # Not "a/#", which would also match "a".
            made += ["+", "#"] if levels else ["#"]
        else:
            made += [last.replace(_STAR, ""), "#"] if _STAR in last else [last]
        return TopicFilter("/".join(made))


def _decoded(text: str) -> str:
    if _BROKEN_ENCODING.search(text):
        raise TopicError("a % without two hexadecimal digits")
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeError:
        raise TopicError("percent-encoded bytes that are not UTF-8") from None

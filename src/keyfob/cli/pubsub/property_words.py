# SPDX-License-Identifier: Apache-2.0
"""A command whose -D takes three words, or four (``user-property NAME VALUE``), as Mosquitto's.

An option of Click's takes a number of words that is always the same. So before it reads them,
those of each -D are made one, which ``words_of`` takes apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from typer.core import TyperCommand

from keyfob.errors import ConfigError

__all__ = ["PropertyCommand", "joined", "words_of"]

_NAMES: Final = frozenset({"-D", "--property"})
_PAIR: Final = "user-property"


class PropertyCommand(TyperCommand):
    """A command with such an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer moves its context
        """Read the command line."""
        with_value = {
            name
            for one in self.params
            for name in (*one.opts, *one.secondary_opts)
            if not (getattr(one, "is_flag", False) or getattr(one, "count", False))
        }
        return super().parse_args(ctx, joined(args, with_value))


def joined(words: Sequence[str], with_value: set[str]) -> list[str]:
    """Make one word of what belongs to each -D.

    Args:
        words: A command line.
        with_value: The options that take the next word, whatever it looks like.

    Raises:
        ConfigError: Some are missing.
    """
    found: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        found.append(word)
        if word == "--":
            return [*found, *words[at:]]
        if word in _NAMES:
            size = 4 if words[at + 1 : at + 2] == [_PAIR] else 3
            own = words[at : at + size]
            if len(own) < size:
                form = "COMMAND user-property NAME VALUE" if size == 4 else "COMMAND NAME VALUE"
                raise ConfigError(f"{word} takes {form}")
            found.append(json.dumps(list(own)))
            at += size
        elif word in with_value and at < len(words):
            found.append(words[at])
            at += 1
    return found


def words_of(text: str) -> list[str]:
    """Return the words of one -D."""
    words: list[str] = json.loads(text)
    return words

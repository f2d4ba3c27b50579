# SPDX-License-Identifier: Apache-2.0
"""Target: one parser, how inputs for it are made, and what must hold for every one of them.

An input is bytes, always, so that a failure can be shown and fed in again. ``make`` draws one;
``check`` looks at nothing but the input, so that the same bytes always give the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

from fuzz.chance import Chance

__all__ = ["BrokenInvariantError", "Check", "Target", "demand"]

Check: TypeAlias = Callable[[bytes], str]
"""Feeds an input to the parser and says in a word what came of it.

Whatever it raises is a failure: ``BrokenInvariantError``, or what the parser must not raise.
"""


class BrokenInvariantError(Exception):
    """The parser answered, and the answer is wrong."""


def demand(condition: object, what: str) -> None:
    """Raise ``BrokenInvariantError`` where a condition does not hold."""
    if not condition:
        raise BrokenInvariantError(what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A parser under fuzz.

    Attributes:
        name: What the command line calls it.
        invariant: What holds for every input, in a sentence.
        make: Draws an input.
        open: Sets up what checking needs, and takes it away again.
        share: How many inputs it gets where others get 10: fewer where each takes longer.
    """

    name: str
    invariant: str
    make: Callable[[Chance], bytes]
    open: Callable[[], AbstractContextManager[Check]]
    share: int = 10

    @classmethod
    def of(
        cls,
        name: str,
        invariant: str,
        make: Callable[[Chance], bytes],
        check: Check,
        *,
        share: int = 10,
    ) -> Target:
        """Return a target whose checking needs no setting up."""
        return cls(
            name=name,
            invariant=invariant,
            make=make,
            open=lambda: nullcontext(check),
            share=share,
        )

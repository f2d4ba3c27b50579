# SPDX-License-Identifier: Apache-2.0
"""Which keys an issuer is known not to have: asked for, and not in what it answered afterwards.

A key that the set at hand does not hold may be a new one. Only an answer to a question that was
asked after its token was seen says that the issuer has no such key; until then its token is not
refused as bad, or every device of an issuer that rotates its keys would throw a good one away.
Nor does it say so for long: whoever guesses a key's name, and asks for it today, must not have
tomorrow's tokens refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

__all__ = ["MAX_NAMES", "AbsentKeys"]

MAX_NAMES: Final = 1024
"""Names remembered, each of at most 256 characters: whoever invents more is told "unavailable"."""

_Name = str | None
"""A ``kid``; None: a token that names no key."""


class AbsentKeys:
    """What was asked of one issuer, and what it turned out not to have."""

    __slots__ = ("_absent", "_asked", "_wanted")

    def __init__(self) -> None:
        # Dicts, because they remember who came first.
        self._wanted: dict[_Name, None] = {}
        self._asked: dict[_Name, None] = {}
        self._absent: dict[_Name, float] = {}

    def want(self, kid: _Name) -> None:
        """Take note that a token names a key that is not at hand."""
        if len(self._wanted) < MAX_NAMES:
            self._wanted[kid] = None

    def begin(self) -> None:
        """Take note that a question is on its way: it is about what was wanted until now."""
        self._asked = dict(islice((self._asked | self._wanted).items(), MAX_NAMES))
        self._wanted.clear()

    def answered(self, before: Iterable[_Name], after: Iterable[_Name], now: float) -> None:
        """Take the answer.

        Args:
            before: The names of the keys that were at hand: what is missing now was withdrawn.
            after: The names of those that are.
            now: Seconds of a clock that never steps.
        """
        for kid in (*self._asked, *before):
            self._absent.pop(kid, None)  # the latest come last
            self._absent[kid] = now
        self._asked = {}
        for kid in after:
            self._absent.pop(kid, None)
        for kid in tuple(self._absent)[: max(0, len(self._absent) - MAX_NAMES)]:
            del self._absent[kid]

    def known(self, kid: _Name, since: float) -> bool:
        """Tell whether an answer of that time or later said that there is no such key."""
        at = self._absent.get(kid)
        return at is not None and at >= since

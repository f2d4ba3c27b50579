# SPDX-License-Identifier: Apache-2.0
"""Which keys an issuer is known not to have: asked for, and not in what it answered afterwards.

A key that the set at hand does not hold may be a new one. Only an answer to a question that was
asked after its token was seen says that the issuer has no such key; until then its token is not
refused as bad, or every device of an issuer that rotates its keys would throw a good one away.
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
        self._absent: dict[_Name, None] = {}

    def want(self, kid: _Name) -> None:
        """Take note that a token names a key that is not at hand."""
        if len(self._wanted) < MAX_NAMES:
            self._wanted[kid] = None

    def begin(self) -> None:
        """Take note that a question is on its way: it is about what was wanted until now."""
        self._asked = dict(islice((self._asked | self._wanted).items(), MAX_NAMES))
        self._wanted.clear()

    def answered(self, before: Iterable[_Name], now: Iterable[_Name]) -> None:
        """Take the answer.

        Args:
            before: The names of the keys that were at hand: what is missing now was withdrawn.
            now: The names of those that are.
        """
        self._absent |= self._asked | dict.fromkeys(before)
        self._asked = {}
        for kid in now:
            self._absent.pop(kid, None)
        for kid in tuple(self._absent)[: max(0, len(self._absent) - MAX_NAMES)]:
            del self._absent[kid]

    def __contains__(self, kid: object) -> bool:
        return kid in self._absent

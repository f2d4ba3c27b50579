# SPDX-License-Identifier: Apache-2.0
"""What issuers answered about tokens lately, by the token's digest (RFC 7662 section 4).

An answer that a token is good is kept for a while and never past the token's ``exp``; one that it
is not, for a shorter while. They are kept apart, so that a storm of garbage pushes no good token
out. A token itself is not kept, nor that an issuer could not be asked.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from keyfob.tokens.verify import VerifiedToken

__all__ = ["Active", "Answers", "Introspection", "Refused", "Unavailable"]

MAX_ACTIVE: Final = 20_000
"""Devices that may reconnect without a question: about 100 MB with usual tokens."""

MAX_REFUSED: Final = 10_000
"""Bad tokens that may be tried again without a question: about 3 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """The issuer vouches for the token, and what it says of it satisfies.

    Attributes:
        token: The verified token.
        presented: The token as it was verified before its issuer was asked, if it is a JWT.
    """

    token: VerifiedToken
    presented: VerifiedToken | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The token is not good: not active, or not good enough for us.

    Attributes:
        code: One of ``errors.TOKEN_CODES``.
        message: What is wrong, without any secret.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """The issuer could not be asked; nothing is known of the token.

    Attributes:
        reason: Why, without any secret.
    """

    reason: str


Introspection = Active | Refused | Unavailable


class Answers:
    """The answers of one issuer; all times are Unix seconds.

    Args:
        keep_active: Seconds that a good answer is kept.
        keep_refused: Seconds that a bad one is.
        max_active: How many good ones are kept; the least recently used goes first.
        max_refused: How many bad ones.
    """

    __slots__ = ("_active", "_keep_active", "_keep_refused", "_refused")

    def __init__(
        self,
        *,
        keep_active: float,
        keep_refused: float,
        max_active: int = MAX_ACTIVE,
        max_refused: int = MAX_REFUSED,
    ) -> None:
        self._keep_active = keep_active
        self._keep_refused = keep_refused
        self._active = _Shelf(max_active)
        self._refused = _Shelf(max_refused)

    @property
    def active(self) -> int:
        """How many good answers are at hand, the aged ones among them."""
        return len(self._active.entries)

    @property
    def refused(self) -> int:
        """How many bad ones."""
        return len(self._refused.entries)

    def find(self, digest: bytes, now: float) -> Active | Refused | None:
        """Return what the issuer said of a token lately."""
        entry = self._active.get(digest, now) or self._refused.get(digest, now)
        return None if entry is None else entry.answer

    def knows(self, digest: bytes) -> bool:
        """Tell whether the last answer was that the token is good, however long ago."""
        return digest in self._active.entries

    def add(self, digest: bytes, answer: Active | Refused, asked_at: float) -> None:
        """Keep an answer in the place of an earlier one.

        Args:
            digest: The token's.
            answer: The answer.
            asked_at: When the question was put; what happened since the answer may not know.
        """
        self._active.entries.pop(digest, None)
        self._refused.entries.pop(digest, None)
        if isinstance(answer, Active):
            until = min(asked_at + self._keep_active, answer.token.claims.expires_at)
            self._active.put(digest, _Kept(answer, asked_at, until))
        else:
            until = asked_at + self._keep_refused
            self._refused.put(digest, _Kept(answer, asked_at, until))


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Active | Refused
    asked_at: float
    until: float


class _Shelf:
    """Entries in the order of their use, so many of them."""

    __slots__ = ("_size", "entries")

    def __init__(self, size: int) -> None:
        self._size = size
        self.entries: OrderedDict[bytes, _Kept] = OrderedDict()

    def get(self, digest: bytes, now: float) -> _Kept | None:
        entry = self.entries.get(digest)
        # A clock stepped back must not lengthen what an answer is good for.
        if entry is None or not entry.asked_at <= now < entry.until:
            return None
        self.entries.move_to_end(digest)
        return entry

    def put(self, digest: bytes, entry: _Kept) -> None:
        self.entries[digest] = entry
        if len(self.entries) > self._size:
            self.entries.popitem(last=False)

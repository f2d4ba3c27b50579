# SPDX-License-Identifier: Apache-2.0
"""Tokens that were verified lately, by their digest: a device that reconnects costs no signature.

An entry holds for as long as the keys that verified it are the issuer's, and no longer than the
token. The token itself is not kept. Whether it was revoked is not remembered but asked each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from keyfob.authorization.policy import Granted
from keyfob.tokens.keys import KeySet
from keyfob.tokens.verify import VerifiedToken

__all__ = ["MAX_CACHED", "CachedToken", "VerifiedTokens"]

MAX_CACHED: Final = 20_000
"""Devices that may reconnect without a new signature check: about 100 MB with usual tokens."""


@dataclass(slots=True, kw_only=True, eq=False)
class CachedToken:
    """A verified token and what was worked out from it.

    Attributes:
        token: The verified token.
        keys: The key set that verified it.
        verified_at: When, in Unix seconds.
        principal: Who it is to a broker.
        granted: What it allows, once somebody asked.
    """

    token: VerifiedToken
    keys: KeySet | None
    verified_at: float
    principal: str
    granted: Granted | None = None


class VerifiedTokens:
    """The tokens verified last.

    Attributes:
        hits: How often a token was found that was still good.
        misses: How often not.

    Args:
        keys_of: Returns an issuer's present keys.
        size: How many are kept; the least recently used goes first.
    """

    def __init__(self, keys_of: Callable[[str], KeySet | None], size: int = MAX_CACHED) -> None:
        self._keys_of = keys_of
        self._size = size
        self._entries: OrderedDict[bytes, CachedToken] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    @staticmethod
    def digest(token: bytes) -> bytes:
        """Return the name that a token has here."""
        return sha256(token).digest()

    def find(self, digest: bytes, now: float) -> CachedToken | None:
        """Return a token that is still as good as when it was verified."""
        entry = self._entries.get(digest)
        if entry is None:
            self.misses += 1
            return None
        token = entry.token
        if (
            # A clock stepped back may have left a token not valid yet.
            entry.verified_at <= now < token.expires_at
            and self._keys_of(token.issuer.issuer) is entry.keys
        ):
            self._entries.move_to_end(digest)
            self.hits += 1
            return entry
        self.misses += 1
        del self._entries[digest]
        return None

    def add(self, digest: bytes, entry: CachedToken) -> None:
        """Keep a verified token."""
        self._entries[digest] = entry
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

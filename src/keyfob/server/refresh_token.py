# SPDX-License-Identifier: Apache-2.0
"""What a refresh token is made of, and how each one follows from the one before.

A token is ``kfr_`` and 72 bytes in base64url: the family that it belongs to, its number within the
family, a secret of 256 bits, and a tag by which the server knows that it made the token.

    secret(0)   random
    secret(n+1) HMAC-SHA-256(family key, family, n+1, secret(n))
    tag(n)      HMAC-SHA-256(family key, family, n, secret(n)), its first 128 bits

So a successor can be made again, the same one, for a client that lost the answer, and the register
keeps the family's key and SHA-256 hashes of secrets only. Neither that key nor an old token is
enough to make a token that is good: it takes both (docs/adr/0012-refresh-tokens-are-a-chain.md).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final, Self

from keyfob.server.credentials import REFRESH_TOKEN_PREFIX

__all__ = ["FAMILY_ID_BYTES", "KEY_BYTES", "RefreshToken"]

FAMILY_ID_BYTES: Final = 16
KEY_BYTES: Final = 32
_COUNTER_BYTES: Final = 8
_SECRET_BYTES: Final = 32
_TAG_BYTES: Final = 16
# 72 bytes are 96 characters with no bit left over: there is one way to write a token.
_TOKEN: Final = re.compile(rf"{REFRESH_TOKEN_PREFIX}([A-Za-z0-9_-]{{96}})", re.ASCII)
# What the two uses of the family's key begin with, so that neither result can serve as the other.
_NEXT: Final = b"keyfob refresh token: next\0"
_MADE_HERE: Final = b"keyfob refresh token: made here\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """One token of a family.

    Args:
        family_id: Which family; random, and no secret.
        counter: Its number; the first one is 0.
        secret: What nobody else can know.
        tag: Proves that whoever made the token had the family's key.
    """

    family_id: bytes
    counter: int
    secret: bytes = field(repr=False)
    tag: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read a token; None for what does not have the form of one."""
        match = _TOKEN.fullmatch(text)
        if match is None:
            return None
        data = base64.urlsafe_b64decode(match[1])
        at_counter, at_secret = FAMILY_ID_BYTES, FAMILY_ID_BYTES + _COUNTER_BYTES
        return cls(
            family_id=data[:at_counter],
            counter=int.from_bytes(data[at_counter:at_secret]),
            secret=data[at_secret:-_TAG_BYTES],
            tag=data[-_TAG_BYTES:],
        )

    @classmethod
    def first(cls, key: bytes, *, family_id: bytes, secret: bytes) -> Self:
        """Make the first token of a family.

        Args:
            key: The family's key, random.
            family_id: Random.
            secret: Random, 32 bytes.
        """
        return cls._made(key, family_id, 0, secret)

    def successor(self, key: bytes) -> Self:
        """Make the token that this one is exchanged for: every time the same."""
        counter = self.counter + 1
        message = _NEXT + self.family_id + _number(counter) + self.secret
        return self._made(key, self.family_id, counter, _mac(key, message))

    def made_with(self, key: bytes) -> bool:
        """Say whether the family's key made this token, in constant time."""
        return hmac.compare_digest(self.tag, _tag(key, self.family_id, self.counter, self.secret))

    @property
    def digest(self) -> bytes:
        """What the register keeps of it. 256 random bits need no slow hash."""
        return hashlib.sha256(self.secret).digest()

    def encode(self) -> str:
        """Return the text that the client gets; the one place where a token becomes text."""
        data = self.family_id + _number(self.counter) + self.secret + self.tag
        return REFRESH_TOKEN_PREFIX + base64.urlsafe_b64encode(data).decode("ascii")

    @classmethod
    def _made(cls, key: bytes, family_id: bytes, counter: int, secret: bytes) -> Self:
        return cls(
            family_id=family_id,
            counter=counter,
            secret=secret,
            tag=_tag(key, family_id, counter, secret),
        )


def _number(counter: int) -> bytes:
    return counter.to_bytes(_COUNTER_BYTES)


def _tag(key: bytes, family_id: bytes, counter: int, secret: bytes) -> bytes:
    return _mac(key, _MADE_HERE + family_id + _number(counter) + secret)[:_TAG_BYTES]


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")

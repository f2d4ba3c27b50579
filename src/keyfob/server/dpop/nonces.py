# SPDX-License-Identifier: Apache-2.0
"""Nonces that prove when a proof was made, without a list of them (RFC 9449 section 8).

    nonce(slot)  slot, and the first 128 bits of HMAC-SHA-256(key, slot)

Time is cut into slots. A nonce is good in its own slot and in the next, so for at least one slot
and never for longer than two; and in the slot before, where another process, whose clock is ahead,
has given it out. Every process that has the key knows every nonce: nothing is kept, and nothing
that a stranger asks for fills anything.
"""

from __future__ import annotations

import hmac
from enum import StrEnum
from typing import Final

from keyfob.tokens import base64url

__all__ = ["NONCE_KEY_BYTES", "SLOT_SECONDS", "NonceStanding", "Nonces"]

NONCE_KEY_BYTES: Final = 32
# What a device on a slow line needs to come again, and no more.
SLOT_SECONDS: Final = 60
_SLOT_BYTES: Final = 8
_TAG_BYTES: Final = 16
# 24 bytes are 32 characters without a bit left over: there is one way to write a nonce.
_CHARS: Final = 32
_ABOUT: Final = b"keyfob dpop nonce\0"


class NonceStanding(StrEnum):
    """What a presented nonce is."""

    GOOD = "good"
    EXPIRED = "expired"
    """Ours, of another time."""
    UNKNOWN = "unknown"
    """None of ours."""


class Nonces:
    """The nonces of one server.

    Args:
        key: Random; the same in every process.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != NONCE_KEY_BYTES:
            raise AssertionError("not the key of nonces")
        self._key = key

    def current(self, now: float) -> str:
        """Return the nonce to use from now on."""
        return self._written(_slot_of(now))

    def standing(self, nonce: str, now: float) -> NonceStanding:
        """Say what a nonce is, in constant time for all that have the form of one."""
        if len(nonce) != _CHARS or not nonce.isascii():
            return NonceStanding.UNKNOWN
        try:
            data = base64url.decode(nonce.encode("ascii"))
        except ValueError:
            return NonceStanding.UNKNOWN
        slot = int.from_bytes(data[:_SLOT_BYTES])
        if not hmac.compare_digest(self._written(slot), nonce):
            return NonceStanding.UNKNOWN
        return NonceStanding.GOOD if abs(_slot_of(now) - slot) <= 1 else NonceStanding.EXPIRED

    def _written(self, slot: int) -> str:
        number = slot.to_bytes(_SLOT_BYTES)
        tag = hmac.digest(self._key, _ABOUT + number, "sha256")[:_TAG_BYTES]
        return base64url.encode(number + tag).decode("ascii")


def _slot_of(now: float) -> int:
    return max(0, int(now // SLOT_SECONDS))

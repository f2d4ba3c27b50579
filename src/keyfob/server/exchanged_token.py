# SPDX-License-Identifier: Apache-2.0
"""What is remembered of a token exchange: which tokens were shown for which one (RFC 8693)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

__all__ = ["ExchangeStore", "ExchangedToken", "Kept", "Parent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A token that was shown: its ``sub``, ``jti`` and ``iat``."""

    subject: str
    token_id: str
    issued_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangedToken:
    """A token that ends at the latest with each of those that were shown for it.

    Args:
        parents: What was shown.
        subject: Its device.
        token_id: Its ``jti``.
        issued_at: Its ``iat``.
        until: When no resource server takes it for good any more, in Unix seconds.
    """

    parents: tuple[Parent, ...]
    subject: str
    token_id: str
    issued_at: int
    until: int


class Kept(enum.StrEnum):
    """What became of the wish to remember one; the value of a refusal is its reason."""

    DONE = "done"
    ENDED = "shown_token_ended_meanwhile"
    TOO_MANY = "too_many_exchanged"


class ExchangeStore(Protocol):
    """Where they are remembered."""

    async def keep(self, token: ExchangedToken, *, now: float) -> Kept:
        """Remember one, on disk, unless what was shown for it has ended by now.

        Raises:
            UpstreamError: It could not be written down.
        """

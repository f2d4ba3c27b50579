# SPDX-License-Identifier: Apache-2.0
"""What keeps a client in tokens, as whoever shows them needs it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from keyfob.device.renewal import Freshness
from keyfob.device.token import Token

__all__ = ["Tokens"]


class Tokens(Protocol):
    """``TokenSource``, or whatever else always has the present token; safe from any thread."""

    @property
    def token(self) -> Token | None:
        """The present token, whatever its state; None: there is none. Never waits."""

    @property
    def state(self) -> Freshness:
        """What the present token is good for."""

    def get(self, timeout: float = 30.0) -> Token:
        """Return a token that can be shown now.

        Args:
            timeout: Seconds to wait for one.

        Raises:
            TokenUnavailableError: There is none now.
            TokenRequestError: There is none: the server refuses.
        """

    async def aget(self, timeout: float = 30.0) -> Token:  # noqa: ASYNC109 - as get
        """Return a token that can be shown now, in an event loop; as ``get``."""

    def renew(self, *, anew: bool = False) -> Future[Token]:
        """Fetch a new token now."""

    def refused(self, token: Token) -> bool:
        """Take note that a broker refused a token; return whether there will be another one."""

    def renewal_in(self) -> float:
        """Return in how many seconds a renewal is to be made; 0: now."""

    def age_of(self, token: Token) -> float:
        """Return how many seconds ago a token was asked for."""

# SPDX-License-Identifier: Apache-2.0
"""The method of plain tokens: the authentication data is the token, and nothing else.

A client that sends none with its first packet is asked for it, by an AUTH without data: so a
library that fills in authentication data only when it is asked works too. ``OAUTH2-JWT`` is our
name for it; EMQX, HiveMQ's extensions and Azure Event Grid know it by others.
"""

from __future__ import annotations

from keyfob.errors import MalformedTokenError
from keyfob.guard.exchanges.exchange import Challenge, Exchange, ExchangeContext, Presented

__all__ = ["JwtMethod"]


class _JwtExchange:
    """Asks once."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked = False

    def step(self, data: bytes) -> Challenge | Presented:
        """Take the token, or ask for it."""
        if data:
            return Presented(data)
        if self._asked:
            raise MalformedTokenError(
                "the client was asked for its token and sent none", code="token_missing"
            )
        self._asked = True
        return Challenge(b"")


class JwtMethod:
    """Shows a token, signed or opaque, as it is."""

    def begin(self, context: ExchangeContext) -> Exchange:  # noqa: ARG002 - it needs to know nothing
        """Begin an exchange."""
        return _JwtExchange()

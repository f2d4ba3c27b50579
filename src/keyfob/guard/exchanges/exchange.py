# SPDX-License-Identifier: Apache-2.0
"""What an authentication method is: data comes in, until a token has been shown (MQTT 5.0, 4.12).

A method only says how a token travels, and what proof about it came along. Whether the token is
good, and whose it is, is judged afterwards as for every other CONNECT. All of it is pure: no I/O,
no clock, no randomness.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from keyfob.tokens.confirmation import Proof

__all__ = ["Challenge", "Exchange", "ExchangeContext", "Method", "Presented", "Proof"]


@dataclass(frozen=True, slots=True)
class Challenge:
    """The client has to say more: it is sent an AUTH with reason 0x18.

    Attributes:
        data: Its authentication data.
    """

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Presented:
    """The client has shown a token; the exchange is over.

    Attributes:
        token: What is verified.
        proof: What it showed about the token's key, checked once the token is verified; None:
            nothing, so that a bound token needs the client's certificate.
        reply: Authentication data for the client where it is let in: it goes with CONNACK or AUTH.
    """

    token: bytes = field(repr=False)
    proof: Proof | None = field(default=None, repr=False)
    reply: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class ExchangeContext:
    """What there is to know when an exchange begins.

    Attributes:
        client_id: The MQTT client identifier, as the broker uses it.
        broker: The broker's name.
        server_nonce: 32 fresh random bytes, of this exchange only.
        now: Unix seconds.
        reauthenticating: The client is connected, and shows its next token (section 4.12.1).
        assigned: The broker made up the client identifier, because the client sent none.
    """

    client_id: str
    broker: str
    server_nonce: bytes = field(repr=False)
    now: float
    reauthenticating: bool
    assigned: bool = False


class Exchange(Protocol):
    """One authentication in progress."""

    def step(self, data: bytes) -> Challenge | Presented:
        """Take what the client sent, first with CONNECT or AUTH 0x19, then with each AUTH 0x18.

        Args:
            data: The authentication data; empty where the packet had none.

        Raises:
            TokenError: It is not what this method expects; the exchange is over.
        """


class Method(Protocol):
    """One way to authenticate, under as many names as are configured."""

    def begin(self, context: ExchangeContext) -> Exchange:
        """Begin an exchange; its first ``step`` follows at once."""

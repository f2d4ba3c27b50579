# SPDX-License-Identifier: Apache-2.0
"""The device's side of an authentication method: what it says, and answers (MQTT 5.0, 4.12).

An exchange serves one CONNECT or one re-authentication. What it says first goes with CONNECT or
with AUTH 0x19; each AUTH 0x18 of the broker is answered by one of its own. No I/O.

A method may be anybody's. Whatever it raises becomes a ``ProtocolError`` here: an error of any
other kind would end the network thread of the MQTT library that it is called in, for good and
without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from keyfob.device.token import Token
from keyfob.errors import KeyfobError, ProtocolError

__all__ = ["LONGEST_DATA", "Exchange", "Method", "answered", "bearer", "begun"]

LONGEST_DATA: Final = 65_535
"""Bytes that authentication data can have: their length has two bytes (MQTT 5.0 section 1.5.6)."""


class Exchange(Protocol):
    """One authentication in progress."""

    def begin(self) -> bytes:
        """Return the first authentication data; empty: none.

        Raises:
            KeyfobError: It cannot begin; no connection is made, and a later try may.
        """

    def respond(self, data: bytes) -> bytes:
        """Answer what the broker asks by AUTH 0x18.

        Args:
            data: The broker's authentication data; empty where it sent none.

        Raises:
            KeyfobError: It is not what this method expects; the connection ends.
        """


Method = Callable[[Token], Exchange]
"""Begins an exchange that shows a token."""


def begun(method: Method, token: Token) -> tuple[Exchange, bytes]:
    """Begin an exchange: it, and its first authentication data.

    Raises:
        ProtocolError: It cannot begin, or its data cannot be sent; ``token_too_long`` where
            they are too many.
    """
    try:
        exchange = method(token)
        data = exchange.begin()
    except Exception as error:  # noqa: BLE001 - somebody else's
        raise _failed(error) from None
    return exchange, _sendable(data)


def answered(exchange: Exchange, data: bytes) -> bytes:
    """Have an exchange answer the broker.

    Raises:
        ProtocolError: It cannot, or its answer cannot be sent.
    """
    try:
        answer = exchange.respond(data)
    except Exception as error:  # noqa: BLE001 - somebody else's
        raise _failed(error) from None
    return _sendable(answer)


def _failed(error: Exception) -> ProtocolError:
    # Not what another's error says: the token may be in it.
    said = error.message if isinstance(error, KeyfobError) else type(error).__name__
    return ProtocolError(said)


def _sendable(data: object) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ProtocolError(f"authentication data are bytes, not {type(data).__name__}")
    if len(data) > LONGEST_DATA:
        said = f"{len(data)} bytes of data, MQTT takes {LONGEST_DATA}"
        raise ProtocolError(said, code="token_too_long")
    return bytes(data)


def bearer(token: Token) -> Exchange:
    """Begin an exchange of ``OAUTH2-JWT`` and its like: the data is the token and nothing else."""
    return _Bearer(token)


class _Bearer:
    def __init__(self, token: Token) -> None:
        self._data = token.access_token.encode()

    def begin(self) -> bytes:
        return self._data

    def respond(self, data: bytes) -> bytes:
        raise ProtocolError(f"the broker has the token, and asks for more ({len(data)} bytes)")

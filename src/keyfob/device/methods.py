# SPDX-License-Identifier: Apache-2.0
"""The device's side of an authentication method: what it says, and answers (MQTT 5.0, 4.12).

An exchange serves one CONNECT or one re-authentication. What it says first goes with CONNECT or
with AUTH 0x19; each AUTH 0x18 of the broker is answered by one of its own. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from keyfob.device.token import Token
from keyfob.errors import ProtocolError

__all__ = ["Exchange", "Method", "bearer"]


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

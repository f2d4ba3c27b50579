# SPDX-License-Identifier: Apache-2.0
"""What a broker's reason code says about the token that it was shown.

Only a broker that says that it does not like the *token* is worth a new one. A fleet that fetches
tokens whenever a broker is unwell turns one outage into two.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from keyfob.mqtt.reason_codes import ReasonCode

__all__ = ["NEAR", "Verdict", "of_connack", "of_ending"]

NEAR: Final = 10.0
"""Seconds around a token's end in which a broker that ends the connection means that."""


class Verdict(Enum):
    """Why there is no connection."""

    REFUSED = "the token is refused"
    """The one answer for which a new token is fetched, once for each token."""
    EXPIRED = "the token has run out"
    """Its time was up: the next one is shown at once."""
    UNAVAILABLE = "the broker cannot serve now"
    IMPOSSIBLE = "the broker does not take this client as it is"
    """No token mends that: the client identifier, the protocol version or the method is wrong."""
    UNEXPLAINED = "no reason was given"


_REFUSED: Final = frozenset({ReasonCode.BAD_USERNAME_OR_PASSWORD, ReasonCode.NOT_AUTHORIZED})
_UNAVAILABLE: Final = frozenset(
    {
        ReasonCode.SERVER_UNAVAILABLE,
        ReasonCode.SERVER_BUSY,
        ReasonCode.QUOTA_EXCEEDED,
        ReasonCode.USE_ANOTHER_SERVER,
        ReasonCode.SERVER_MOVED,
        ReasonCode.CONNECTION_RATE_EXCEEDED,
        0x8B,  # server shutting down
    }
)
_IMPOSSIBLE: Final = frozenset(
    {
        ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
        ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
        ReasonCode.BANNED,
        ReasonCode.BAD_AUTHENTICATION_METHOD,
        ReasonCode.PACKET_TOO_LARGE,
    }
)
_ENDING: Final = frozenset(
    {
        ReasonCode.NOT_AUTHORIZED,
        ReasonCode.ADMINISTRATIVE_ACTION,
        ReasonCode.MAXIMUM_CONNECT_TIME,
    }
)
_RETURN_CODES: Final = {
    1: Verdict.IMPOSSIBLE,
    2: Verdict.IMPOSSIBLE,
    3: Verdict.UNAVAILABLE,
    4: Verdict.REFUSED,
    5: Verdict.REFUSED,
}


def of_connack(code: int) -> Verdict:
    """Judge a CONNACK that is no success.

    Args:
        code: Its reason code (MQTT 5.0 section 3.2.2.2), or its return code of 3.1.1.
    """
    if code < 0x80:
        return _RETURN_CODES.get(code, Verdict.UNEXPLAINED)
    if code in _REFUSED:
        return Verdict.REFUSED
    if code in _UNAVAILABLE:
        return Verdict.UNAVAILABLE
    return Verdict.IMPOSSIBLE if code in _IMPOSSIBLE else Verdict.UNEXPLAINED


def of_ending(code: int | None, remaining: float) -> Verdict:
    """Judge the end of a connection that stood.

    Args:
        code: The reason code of the broker's DISCONNECT; None: it was closed without a word.
        remaining: Seconds that the token had to live; negative: it had run out.
    """
    if code in _ENDING and remaining <= NEAR:
        return Verdict.EXPIRED
    if code in _REFUSED:
        return Verdict.REFUSED
    return Verdict.UNAVAILABLE if code in _UNAVAILABLE else Verdict.UNEXPLAINED

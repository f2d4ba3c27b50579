# SPDX-License-Identifier: Apache-2.0
"""What is published at the very end of a token waits for the next one, and is not lost.

Theory of operation. A broker refuses what comes with a token that has run out: in MQTT 5 by a
PUBACK or PUBREC of 0x87, in 3.1.1 it acknowledges it and drops it. To paho either is the end of the
message. So from a moment before the token's end QoS 1 and 2 wait in paho's own queue: its window of
messages in flight is closed. And a refusal that the token's end explains is not told to paho; the
message goes back into the queue. The window is opened, and what has waited is sent, when the broker
has the next token.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as mqtt

from keyfob.device import paho_internals as inside
from keyfob.device.presenting import Presenting
from keyfob.device.renewal import margin_of
from keyfob.device.token import Token
from keyfob.device.verdicts import NEAR
from keyfob.mqtt.reason_codes import ReasonCode

__all__ = ["Holding"]

_log = logging.getLogger("keyfob.device")

_CLOSED: Final = -1
"""A window with room for nothing; to paho 0 is one with room for everything."""

_WHOLE: Final = 1.0
"""Seconds by which a token may end earlier than its ``expires_in`` says: a JWT's ``exp`` is in
whole seconds where its server writes it so."""

_AGAIN: Final = 1.0
"""Seconds until what was refused is tried again where, by our clock, the token has not run out."""

_LAST_SHARE: Final = 0.25
"""The last share of a token's life, at most ``NEAR`` seconds, in which a refusal is laid to its
end: the broker's clock may be ahead of ours."""


def _early(token: Token) -> float:
    """Return the seconds before a token's end from which on nothing is published with it."""
    return min(max(margin_of(token.lifetime), _WHOLE), _LAST_SHARE * token.lifetime)


class Holding:
    """Holds back what one client publishes, while there is no token to publish it with.

    Args:
        client: The client.
        presenting: What it shows.
        is_told: Whether the user hears of what the broker refuses: by ``on_publish``, which aiomqtt
            has for itself.
    """

    def __init__(
        self, client: mqtt.Client, presenting: Presenting, is_told: Callable[[], bool]
    ) -> None:
        self._client: Any = client
        self._presenting = presenting
        self._is_told = is_told
        self._live = False
        self._window: int | None = None  # the user's own, while ours is closed
        self._refused_at: float | None = None

    def begun(self) -> None:
        """A connection is there, and the broker has its token."""
        with inside.outgoing(self._client):
            self._live = True
            self._open()

    def renewed(self) -> None:
        """The broker has taken the next token."""
        with inside.outgoing(self._client):
            self._open()

    def over(self) -> None:
        """The connection is about to end; paho sends with the next one what waits."""
        with inside.outgoing(self._client):
            self._live = False
            self._open()

    def look(self) -> None:
        """Hold back what is published from now on, or no longer."""
        with inside.outgoing(self._client):
            if not self._live:
                return
            if self._is_time():
                self._close()
            elif self._window is not None:
                self._open()

    def keeps(self, packet: bytes) -> bool:
        """Keep a message that was refused because of the token's end; paho is not to hear of it.

        Args:
            packet: A PUBACK or PUBREC behind its fixed header (MQTT 5.0 sections 3.4 and 3.5).
        """
        code = packet[2] if len(packet) > 2 else 0
        if code < 0x80:
            return False
        if code == ReasonCode.NOT_AUTHORIZED and self._is_the_tokens_end():
            with inside.outgoing(self._client):
                if inside.queue_again(self._client, int.from_bytes(packet[:2])):
                    _log.info("a message came as the token ran out: it waits for the next one")
                    self._refused_at = time.monotonic()
                    self.look()
                    return True
        if not self._is_told():
            _log.warning("the broker has refused a message (0x%02X): it is lost", code)
        return False

    def _is_time(self) -> bool:
        left = self._presenting.left()
        token = self._presenting.shown
        past = token is not None and left <= _early(token)
        if self._refused_at is not None:
            return past or time.monotonic() - self._refused_at < _AGAIN
        return past and left >= -NEAR  # a broker that goes on with it means to

    def _is_the_tokens_end(self) -> bool:
        token = self._presenting.shown
        return token is not None and (
            self._presenting.left_at_broker() <= min(NEAR, _LAST_SHARE * token.lifetime)
        )

    def _close(self) -> None:
        if self._window is None:
            self._window = inside.set_window(self._client, _CLOSED)

    def _open(self) -> None:
        self._refused_at = None
        if self._window is not None:
            inside.set_window(self._client, self._window)
            self._window = None
        if self._live:
            inside.send_queued(self._client)

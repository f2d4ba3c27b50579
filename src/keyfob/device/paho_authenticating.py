# SPDX-License-Identifier: Apache-2.0
"""What paho lacks of enhanced authentication (MQTT 5.0 section 4.12): exchanges, and new ones.

One exchange belongs to a CONNECT, and one to each re-authentication (section 4.12.1) on the live
connection. An answer that comes when nobody waits for it any more still counts. Everything happens
in the thread that runs the client's loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as mqtt

from keyfob.device import paho_internals as inside
from keyfob.device.exchange_queue import ExchangeQueue
from keyfob.device.methods import Exchange, answered
from keyfob.device.presenting import Presenting
from keyfob.device.token import Token
from keyfob.errors import ProtocolError
from keyfob.mqtt.reason_codes import ReasonCode

__all__ = ["ANSWER", "Authenticating"]

_log = logging.getLogger("keyfob.device")

ANSWER: Final = 10.0
"""Seconds that a broker has to answer a re-authentication."""


class Authenticating:
    """The exchanges of one client.

    Args:
        client: The client.
        presenting: What it shows.
        queue: Puts a packet into paho's own queue, as its ``_packet_queue``.
        shows: Is told of each token that is about to be sent.
    """

    def __init__(
        self,
        client: mqtt.Client,
        presenting: Presenting,
        queue: Callable[..., Any],
        shows: Callable[[Token], object],
    ) -> None:
        self._shows = shows
        self._client: Any = client
        self._presenting = presenting
        self._exchange: Exchange | None = None
        self._renewing: tuple[Token, float] | None = None
        self.queue = ExchangeQueue(queue)
        """Where everything that the client sends goes through."""
        self.negotiated = False
        """Whether the broker takes part, so that it can be done again on the live connection."""

    def connecting(self, exchange: Exchange | None) -> None:
        """CONNECT is being written, with what this exchange says first; None: there is none."""
        self._exchange, self.negotiated, self._renewing = exchange, False, None

    def accepted(self, told: object) -> None:
        """CONNACK said yes, with these properties: what has waited for it goes out."""
        self.queue.end()
        method = self._presenting.carry.method
        self.negotiated = bool(method) and getattr(told, "AuthenticationMethod", None) == method

    @property
    def under_way(self) -> bool:
        """Whether the broker may send an AUTH."""
        return self._exchange is not None

    def begin(self, token: Token, now: float) -> float:
        """Re-authenticate with the next token.

        Returns:
            Seconds in which not to look for another one.
        """
        try:
            exchange, data = self._presenting.begin(token)
        except ProtocolError as error:  # the connection goes on until its token ends
            _log.warning("%s: %s", self._presenting.carry.method, error.message)
            return ANSWER
        if self._presenting.asked and not self.queue.begin():
            return 0.0
        self._exchange, self._renewing = exchange, (token, now)
        self._shows(token)
        self._send(ReasonCode.RE_AUTHENTICATE, data)
        return 0.0

    def waits(self, now: float) -> bool:
        """Tell whether an answer is to be waited for."""
        if self._renewing is None:
            return False
        if now - self._renewing[1] < ANSWER:
            return True
        if self.negotiated:
            _log.warning("no answer to a re-authentication in %.0f s", ANSWER)
            self.negotiated = False  # until one comes: what was asked stays asked
            self.queue.end()
        return False

    def answer(self, code: int, data: bytes) -> tuple[Any, bool]:
        """Answer an AUTH of the broker.

        Args:
            code: Its reason code.
            data: Its authentication data.

        Returns:
            What paho's loop goes on with, and whether the broker has taken the next token.
        """
        if code == ReasonCode.CONTINUE_AUTHENTICATION:
            return self._respond(data), False
        if code == ReasonCode.SUCCESS and self._renewing is not None:
            self._presenting.taken(self._renewing[0])
            self.negotiated = True
            self.over()
            _log.info("re-authenticated with the next token")
            return mqtt.MQTT_ERR_SUCCESS, True
        return mqtt.MQTT_ERR_PROTOCOL, False

    def over(self) -> Token | None:
        """A re-authentication is over, if there was one; return the token that was to come."""
        renewing, self._renewing = self._renewing, None
        self.queue.end()
        return None if renewing is None else renewing[0]

    def _respond(self, data: bytes) -> Any:
        assert self._exchange is not None  # noqa: S101 - it is under way
        try:
            answer = answered(self._exchange, data)
        except ProtocolError as error:
            _log.warning("%s: %s", self._presenting.carry.method, error.message)
            return mqtt.MQTT_ERR_PROTOCOL
        self._send(ReasonCode.CONTINUE_AUTHENTICATION, answer)
        return mqtt.MQTT_ERR_SUCCESS

    def _send(self, code: ReasonCode, data: bytes) -> None:
        inside.send_auth(self._client, code, self._presenting.carry.method, data)

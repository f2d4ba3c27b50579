# SPDX-License-Identifier: Apache-2.0
"""Publishing many messages by one connection, no faster than the broker takes them."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from keyfob.cli.pubsub.link import Link, reason_text
from keyfob.errors import BrokerRefusalError

__all__ = ["Publisher", "Publishing"]

WINDOW: Final = 1000
"""Messages that are on their way at most; whoever reads standard input waits meanwhile."""

LOOK: Final = 0.2
"""Seconds between two looks whether something has ended the command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """How each message is published.

    Attributes:
        topic: The topic name.
        qos: 0 to 2.
        retain: Whether the broker keeps it.
        properties: PUBLISH's; None: none.
        endless: Whether nobody knows when it ends: a refusal is told when it comes, too.
    """

    topic: str
    qos: int = 0
    retain: bool = False
    properties: Properties | None = None
    endless: bool = False


class Publisher:
    """Publishes.

    Args:
        link: A connection that stands.
        how: How.
    """

    def __init__(self, link: Link, how: Publishing) -> None:
        self._link = link
        self._how = how
        self._slots = threading.Semaphore(WINDOW)
        self._written: deque[tuple[mqtt.MQTTMessageInfo, bytes]] = deque()
        self._refused = 0
        self._connection = link.connections
        link.client.on_publish = self._published

    def publish(self, payload: bytes) -> None:
        """Publish a message, once there is room for it.

        Raises:
            KeyfobError: The connection is gone for good.
        """
        if self._how.qos:
            self._keep_order()
            self._take_slot()
            self._send(payload)
            return
        self._written.append((self._send_now(payload), payload))
        if len(self._written) >= WINDOW:
            # All of them: as long as there is something to write, paho does nothing else, and
            # the next token would have to wait until this one has run out.
            self._see_through()

    def finish(self) -> None:
        """Wait until the broker has everything, as far as the quality of service can tell.

        Raises:
            KeyfobError: The connection is gone for good.
            BrokerRefusalError: The broker took one of the messages not.
        """
        self._see_through()
        if self._how.qos:
            self._await_all()
        if self._refused:
            said = f"the broker refuses {self._how.topic}: {reason_text(self._refused)}"
            raise BrokerRefusalError(said, reason_code=self._refused)

    def _await_connection(self) -> None:
        while not self._link.up.wait(LOOK):
            self._link.go_on()

    # QoS 1 and 2: paho keeps the message until the broker has it, whatever happens to connections

    def _keep_order(self) -> None:
        """After a reconnect, let paho send again what was on its way before anything new."""
        self._await_connection()
        if self._connection != self._link.connections:
            self._connection = self._link.connections
            self._await_all()

    def _await_all(self) -> None:
        for _ in range(WINDOW):
            self._take_slot()
        self._slots.release(WINDOW)

    def _take_slot(self) -> None:
        while not self._slots.acquire(timeout=LOOK):
            self._link.go_on()

    def _published(self, _c: object, _u: object, _mid: int, reason: ReasonCode, _p: object) -> None:
        if not self._how.qos:
            return
        code = reason.value
        if code >= 0x80 and not self._refused:
            self._refused = code
            if self._how.endless:
                self._link.tell(f"a message is refused, and lost: {reason_text(code)}")
        self._slots.release()

    # QoS 0: what a connection that ended has not taken is written to the next one

    def _send_now(self, payload: bytes) -> mqtt.MQTTMessageInfo:
        while True:
            self._await_connection()
            info = self._send(payload)
            if info.rc == mqtt.MQTT_ERR_SUCCESS:
                return info

    def _see_through(self) -> None:
        """Wait until none is still to be written."""
        while self._written:
            info, payload = self._written.popleft()
            while not _is_written(info):
                self._link.go_on()
            if info.rc != mqtt.MQTT_ERR_SUCCESS:
                self._written.append((self._send_now(payload), payload))

    def _send(self, payload: bytes) -> mqtt.MQTTMessageInfo:
        how = self._how
        return self._link.client.publish(how.topic, payload, how.qos, how.retain, how.properties)


def _is_written(info: mqtt.MQTTMessageInfo) -> bool:
    try:
        info.wait_for_publish(LOOK)
        return info.is_published()
    except RuntimeError:  # its connection ended before
        return True

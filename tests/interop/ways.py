# SPDX-License-Identifier: Apache-2.0
"""The ways of the matrix: in which field a token travels, over what, in which version of MQTT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from tests import mqtt5
from tests.running import Client, Installation, until
from tests.transports import tcp, tls, websockets

__all__ = ["WAYS", "Device", "Way", "device"]

NO_AUTH: Final = "MQTT 3.1.1 has no AUTH packet"


@dataclass(frozen=True, slots=True)
class Way:
    """One row of the matrix.

    Attributes:
        field: ``username``, ``password`` or ``enhanced``.
        transport: ``TCP``, ``TLS`` or ``WebSocket`` (over TLS).
        v5: MQTT 5, or 3.1.1.
    """

    field: str
    transport: str
    v5: bool

    @property
    def title(self) -> str:
        """What the table calls it."""
        return f"{self.field} {self.transport} {'MQTT 5' if self.v5 else 'MQTT 3.1.1'}"

    @property
    def impossible(self) -> str:
        """Why there is no such way; empty: there is."""
        return NO_AUTH if self.field == "enhanced" and not self.v5 else ""


WAYS: Final = tuple(
    Way(field, transport, v5)
    for v5 in (True, False)
    for field in ("username", "password", "enhanced")
    for transport in ("TCP", "TLS", "WebSocket")
)


class Device(Protocol):
    """A device that comes in by one of the ways."""

    def try_connect(self, token: str) -> int | None:
        """Connect; the CONNACK's reason code, None without one."""

    def subscribe(self, topic: str) -> int:
        """Subscribe; the SUBACK's reason code."""

    def publish(self, topic: str, payload: str) -> int | None:
        """Publish at QoS 1; the PUBACK's reason code."""

    def until_message(self, topic: str, payload: str) -> None:
        """Wait for a message."""

    def until_disconnected(self) -> object:
        """Wait until the broker ends the connection."""

    def renew(self, token: str) -> None:
        """Go on with another token, on this connection or on the next one of the same session."""


def device(running: Installation, name: str, way: Way) -> Device:
    """Make a device that keeps its session."""
    if way.field == "enhanced":
        return _Enhanced(running, name, way)
    return _Paho(running, name, way)


class _Paho:
    def __init__(self, running: Installation, name: str, way: Way) -> None:
        self._name = name
        self._way = way
        self._client: Client = running.client(
            name,
            v5=way.v5,
            tls=way.transport != "TCP",
            websockets=way.transport == "WebSocket",
            clean=False,
        )

    def try_connect(self, token: str) -> int | None:
        fields = (token, "") if self._way.field == "username" else (self._name, token)
        return self._client.try_connect(*fields)

    def subscribe(self, topic: str) -> int:
        return self._client.subscribe(topic)

    def publish(self, topic: str, payload: str) -> int | None:
        return self._client.publish(topic, payload)

    def until_message(self, topic: str, payload: str) -> None:
        self._client.until_message(topic, payload)

    def until_disconnected(self) -> object:
        return self._client.until_disconnected()

    def renew(self, token: str) -> None:
        self._client.close()
        until("it is let in again", lambda: self.try_connect(token) == 0)
        assert self._client.session_present[-1]


class _Enhanced:
    def __init__(self, running: Installation, name: str, way: Way) -> None:
        ports = running.settings.mosquitto
        self._name = name
        self._over = {
            "TCP": (ports.plain_port, tcp),
            "TLS": (ports.port, tls(running.ca)),
            "WebSocket": (ports.websockets_port, websockets(running.ca)),
        }[way.transport]
        self._client: mqtt5.Client | None = None
        running.clients.append(self)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    @property
    def client(self) -> mqtt5.Client:
        assert self._client is not None, "it is not connected"
        return self._client

    def try_connect(self, token: str) -> int | None:
        self.close()
        port, over = self._over
        self._client = mqtt5.Client(port, self._name, over=over)
        answer = self._client.connect(token.encode(), clean=False, expiry=3600)
        return None if answer is None else answer.reason

    def subscribe(self, topic: str) -> int:
        return self.client.subscribe(topic)

    def publish(self, topic: str, payload: str) -> int | None:
        return self.client.publish(topic, payload.encode())

    def until_message(self, topic: str, payload: str) -> None:
        while self.client.received() != (topic, payload.encode()):
            pass

    def until_disconnected(self) -> object:
        return self.client.rest()

    def renew(self, token: str) -> None:
        answer = self.client.auth(mqtt5.REAUTHENTICATE, token.encode())
        assert answer is not None
        assert (answer.kind, answer.reason) == (mqtt5.AUTH, 0)

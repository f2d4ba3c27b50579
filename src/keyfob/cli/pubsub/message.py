# SPDX-License-Identifier: Apache-2.0
"""A message as it came, whatever client brought it."""

from __future__ import annotations

from dataclasses import dataclass

import paho.mqtt.client as mqtt
from paho.mqtt.properties import Properties

__all__ = ["Message", "PropertyValue", "message_of"]

PropertyValue = int | str | bytes | tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One PUBLISH (MQTT 5.0 section 3.3).

    Attributes:
        topic: The topic name.
        payload: Any bytes.
        qos: 0 to 2.
        retain: Whether it was retained, or is forwarded as such.
        identifier: The packet identifier; 0 with QoS 0.
        properties: Names as the standard has them, without blanks (``ContentType``), in the order
            in which they came; one that came twice stands there twice.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    identifier: int = 0
    properties: tuple[tuple[str, PropertyValue], ...] = ()

    def first(self, name: str) -> PropertyValue | None:
        """Return a property's first value; None: it is not there."""
        return next((value for known, value in self.properties if known == name), None)


def message_of(received: mqtt.MQTTMessage) -> Message:
    """Return what paho received.

    Raises:
        UnicodeDecodeError: Its topic is no UTF-8, which no broker should send.
    """
    return Message(
        topic=received.topic,
        payload=bytes(received.payload),
        qos=received.qos,
        retain=bool(received.retain),
        identifier=received.mid if received.qos else 0,
        properties=_properties(received.properties),
    )


def _properties(given: Properties | None) -> tuple[tuple[str, PropertyValue], ...]:
    if given is None or given.isEmpty():  # type: ignore[no-untyped-call]
        return ()
    found: list[tuple[str, PropertyValue]] = []
    for name, value in vars(given).items():
        if not name[:1].isupper():  # paho's own tables
            continue
        values = value if isinstance(value, list) else [value]
        found.extend((name, one) for one in values)
    return tuple(found)

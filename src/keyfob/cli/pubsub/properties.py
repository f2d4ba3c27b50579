# SPDX-License-Identifier: Apache-2.0
"""The properties that -D puts into packets (MQTT 5.0 section 2.2.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from keyfob.errors import ConfigError

__all__ = ["COMMANDS", "read_properties"]

COMMANDS: Final = {
    "connect": PacketTypes.CONNECT,
    "publish": PacketTypes.PUBLISH,
    "subscribe": PacketTypes.SUBSCRIBE,
    "unsubscribe": PacketTypes.UNSUBSCRIBE,
    "disconnect": PacketTypes.DISCONNECT,
    "will": PacketTypes.WILLMESSAGE,
}

_Kind = Literal["byte", "two", "four", "varint", "text", "binary", "pair"]
_MOST: Final = {"byte": 1, "two": 0xFFFF, "four": 0xFFFFFFFF, "varint": 0x0FFFFFFF}


@dataclass(frozen=True, slots=True)
class _Property:
    name: str
    kind: _Kind
    commands: frozenset[str]
    least: int = 0


def _one(name: str, kind: _Kind, commands: str, least: int = 0) -> _Property:
    return _Property(name, kind, frozenset(commands.split()), least)


_PROPERTIES: Final[Mapping[str, _Property]] = {
    "content-type": _one("ContentType", "text", "publish will"),
    "correlation-data": _one("CorrelationData", "binary", "publish will"),
    "maximum-packet-size": _one("MaximumPacketSize", "four", "connect", 1),
    "message-expiry-interval": _one("MessageExpiryInterval", "four", "publish will"),
    "payload-format-indicator": _one("PayloadFormatIndicator", "byte", "publish will"),
    "receive-maximum": _one("ReceiveMaximum", "two", "connect", 1),
    "request-problem-information": _one("RequestProblemInformation", "byte", "connect"),
    "request-response-information": _one("RequestResponseInformation", "byte", "connect"),
    "response-topic": _one("ResponseTopic", "text", "publish will"),
    "session-expiry-interval": _one("SessionExpiryInterval", "four", "connect disconnect"),
    "subscription-identifier": _one("SubscriptionIdentifier", "varint", "subscribe", 1),
    "topic-alias": _one("TopicAlias", "two", "publish", 1),
    "user-property": _one("UserProperty", "pair", " ".join(COMMANDS)),
    "will-delay-interval": _one("WillDelayInterval", "four", "will"),
}

_REFUSED: Final = {
    "authentication-method": "the token goes there with --carry auth:METHOD",
    "authentication-data": "the token goes there with --carry auth:METHOD",
    "topic-alias-maximum": "topics come whole here",
}


def read_properties(
    given: Sequence[Sequence[str]], commands: Sequence[str]
) -> Mapping[str, Properties]:
    """Read what each -D says.

    Args:
        given: Its words: command, identifier, and a value or a name and a value.
        commands: The packets that this program sends, of ``COMMANDS``.

    Returns:
        For each packet that gets some its properties.

    Raises:
        ConfigError: One of them is none.
    """
    found: dict[str, Properties] = {}
    for words in given:
        command, identifier = words[0].lower(), words[1].lower()
        if command not in commands:
            said = ", ".join(one.upper() for one in commands)
            raise ConfigError(f"-D {words[0]}: properties go into {said}")
        if identifier in _REFUSED:
            raise ConfigError(f"-D {words[0]} {words[1]}: {_REFUSED[identifier]}")
        known = _PROPERTIES.get(identifier)
        if known is None or command not in known.commands:
            there = ", ".join(name for name, one in _PROPERTIES.items() if command in one.commands)
            raise ConfigError(f"-D {words[0]} {words[1]}: {words[0]} has {there}")
        properties = found.get(command)
        if properties is None:
            properties = Properties(COMMANDS[command])  # type: ignore[no-untyped-call]
            found[command] = properties
        if known.kind != "pair" and hasattr(properties, known.name):
            raise ConfigError(f"-D {words[0]} {words[1]} stands there twice")
        setattr(properties, known.name, _value(words, known))
    return found


def _value(words: Sequence[str], known: _Property) -> int | str | bytes | tuple[str, str]:
    shown = " ".join(words[:2])
    if known.kind == "pair":
        return (_text(words[2], shown), _text(words[3], shown))
    text = words[2]
    if known.kind == "text":
        return _text(text, shown)
    if known.kind == "binary":
        data = text.encode("utf-8", "surrogateescape")
        if len(data) > 0xFFFF:
            raise ConfigError(f"-D {shown}: at most 65535 bytes")
        return data
    most = _MOST[known.kind]
    if not (text.isascii() and text.isdigit() and known.least <= int(text[:11]) <= most):
        raise ConfigError(f"-D {shown}: a number from {known.least} to {most}")
    return int(text)


def _text(text: str, shown: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ConfigError(f"-D {shown}: it is no UTF-8") from error
    if size > 0xFFFF or "\0" in text:
        raise ConfigError(f"-D {shown}: at most 65535 bytes, and no NUL")
    return text

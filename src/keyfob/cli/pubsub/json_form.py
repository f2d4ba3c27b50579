# SPDX-License-Identifier: Apache-2.0
"""JSON as mosquitto_sub prints it: one spelling of each value, byte for byte; no I/O.

Its numbers are doubles in the shortest of two spellings, members stay in their order, and one that
stands there twice is printed twice. That is what scripts compare with, so it is kept.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Final, NoReturn

from keyfob.cli.pubsub.message import Message

__all__ = ["Value", "as_json", "parse_json", "printed"]

_NAMES: Final = {
    "PayloadFormatIndicator": "payload-format-indicator",
    "MessageExpiryInterval": "message-expiry-interval",
    "ContentType": "content-type",
    "ResponseTopic": "response-topic",
    "CorrelationData": "correlation-data",
    "SubscriptionIdentifier": "subscription-identifier",
    "TopicAlias": "topic-alias",
}


class Members(tuple[tuple[str, "Value"], ...]):
    """An object's members, in their order; a name may stand there twice."""

    __slots__ = ()


Value = None | bool | int | float | str | list["Value"] | Members


def as_json(message: Message, when: str, *, parsed: bool, pretty: bool) -> str:
    """Return a message as one JSON document.

    Args:
        message: What came.
        when: When it came, as it is to stand there.
        parsed: Whether the payload is JSON itself, and stands there as such (``%J``); else it is a
            string, or, where its bytes are no text, an array of numbers (``%j``).
        pretty: On many lines.

    Raises:
        ValueError: The payload should be JSON, and is not.
    """
    members: list[tuple[str, Value]] = [
        ("tst", when),
        ("topic", message.topic),
        ("qos", message.qos),
        ("retain", int(message.retain)),
        ("payloadlen", len(message.payload)),
    ]
    if message.qos:
        members.append(("mid", message.identifier))
    if message.properties:
        members.append(("properties", _properties(message)))
    members.append(("payload", _payload(message, parsed=parsed)))
    return printed(Members(members), pretty=pretty)


def parse_json(data: bytes) -> Value:
    """Read JSON.

    Raises:
        ValueError: It is none, or too deep.
    """
    try:
        value: Value = json.loads(
            data.decode(),
            object_pairs_hook=Members,
            parse_int=float,
            parse_constant=_no_number,
            strict=False,  # as mosquitto_sub, which takes a tab within a string
        )
        printed(value).encode()
    except (ValueError, RecursionError):  # the one repeats what it read
        raise ValueError("it is no JSON") from None
    return value


def printed(value: Value, *, pretty: bool = False) -> str:
    """Write a value."""
    return _pretty(value, 0) if pretty else _plain(value)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _payload(message: Message, *, parsed: bool) -> Value:
    if not message.payload:
        return None
    if parsed:
        return parse_json(message.payload)
    try:
        text = message.payload.decode()
    except UnicodeDecodeError:
        return list(message.payload)
    return list(message.payload) if "\0" in text else text


def _properties(message: Message) -> Members:
    users = Members(value for _, value in message.properties if isinstance(value, tuple))
    found: list[tuple[str, Value]] = []
    for name, value in message.properties:
        if isinstance(value, tuple):
            if ("user-properties", users) not in found:
                found.append(("user-properties", users))
        elif name in _NAMES:
            found.append((_NAMES[name], _property(value)))
    return Members(found)


def _property(value: int | str | bytes) -> Value:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _plain(value: Value) -> str:
    if isinstance(value, Members):
        return "{" + ",".join(f"{_string(name)}:{_plain(one)}" for name, one in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_plain, value)) + "]"
    return _scalar(value)


def _pretty(value: Value, depth: int) -> str:
    if isinstance(value, Members):
        tabs = "\t" * (depth + 1)
        lines = [f"{tabs}{_string(name)}:\t{_pretty(one, depth + 1)}" for name, one in value]
        inside = ",\n".join(lines) + "\n" if lines else ""
        return "{\n" + inside + "\t" * depth + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_pretty(one, depth + 1) for one in value) + "]"
    return _scalar(value)


def _scalar(value: bool | float | str | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _string(value) if isinstance(value, str) else _number(value)


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    value = float(value)
    if not math.isfinite(value):
        return "null"
    short = f"{value:.15g}"
    most = max(abs(value), abs(float(short)))
    same = abs(value - float(short)) <= most * sys.float_info.epsilon
    return short if same else f"{value:.17g}"

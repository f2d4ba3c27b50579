# SPDX-License-Identifier: Apache-2.0
"""What RabbitMQ decides: ``wildcard``, ``rabbit_oauth2_scope`` and ``rabbit_mqtt_util``, ported.

On bytes, clause by clause as the Erlang is written, so that it shares nothing with what it tests.
"""

from __future__ import annotations

from collections.abc import Iterable


def mqtt_to_amqp(topic: str) -> bytes:
    return topic.encode().replace(b"/", b".").replace(b"+", b"*")


def wildcard_match(subject: bytes, pattern: bytes) -> bool:
    try:
        first, *rest = [urldecode(part) for part in pattern.split(b"*")]
    except ValueError:
        return False
    if not subject.startswith(first):
        return False
    return scan(subject, rest, len(first), len(subject))


def scan(subject: bytes, pattern: list[bytes], pos: int, length: int) -> bool:
    while True:
        if pattern == [b""]:
            return True
        if not pattern:
            return pos == length
        if pos == length:
            return False
        part, pattern = pattern[0], pattern[1:]
        if part == b"":
            continue
        found = subject.find(part, pos, length)
        if found < 0:
            return False
        pos = found + len(part)


def urldecode(text: bytes) -> bytes:
    made = bytearray()
    at = 0
    while at < len(text):
        if text[at] == ord("%"):
            digits = text[at + 1 : at + 3].decode("latin-1")
            if len(digits) != 2 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
                raise ValueError(text)
            made.append(int(digits, 16))
            at += 3
        else:
            made.append(ord(" ") if text[at] == ord("+") else text[at])
            at += 1
    return bytes(made)


def topic_access(
    vhost: str, exchange: str, routing_key: bytes, permission: str, scopes: Iterable[str]
) -> bool:
    for scope in scopes:
        kind, colon, rest = scope.encode().partition(b":")
        parts = rest.split(b"/")
        if (
            colon
            and kind.decode() == permission
            and len(parts) == 3
            and wildcard_match(vhost.encode(), parts[0])
            and wildcard_match(exchange.encode(), parts[1])
            and wildcard_match(routing_key, parts[2])
        ):
            return True
    return False

# SPDX-License-Identifier: Apache-2.0
"""Fuzzes permissions.c against ``authorization.permissions``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from fuzz import pieces
from fuzz.chance import Chance
from fuzz.link_frames import drawn_permissions
from fuzz.plugin_parts import Asked, PluginParts, opened, utf8
from fuzz.target import Check, Target, demand
from fuzz.topic_texts import drawn_filter, drawn_name, filter_of, name_of, near
from keyfob.authorization.permissions import Effect, Form, Operation, Permissions, Rule
from keyfob.brokers.mosquitto.frames import Grant, Record
from keyfob.brokers.mosquitto.wire import encode
from keyfob.guard.session import SessionState
from keyfob.mqtt.topics import TopicFilter

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "Whatever the permissions, C and Python give the same answer to every publish, subscribe and "
    "delivery of a topic name, and C refuses to subscribe to what is no topic filter."
)


def make(chance: Chance) -> bytes:
    """Draw permissions, and questions that are not far from what they allow."""
    permissions = drawn_permissions(chance, most=80 if chance.often(0.05) else 10)
    rules = [_packed(rule) for rule in permissions.rules]
    allowed = [str(rule.filter) for rule in permissions.rules] or ["a"]
    topics = [
        near(chance, chance.one(allowed)) if chance.often(0.4) else drawn_name(chance)[:300]
        for _ in range(chance.few(5))
    ]
    requests = [
        near(chance, chance.one(allowed)) if chance.often(0.5) else drawn_filter(chance)[:300]
        for _ in range(chance.few(5))
    ]
    qos, retain = chance.randrange(4), chance.randrange(2)
    return pieces.pack(int(permissions.form), rules, topics, allowed[:10] + requests, qos, retain)


@contextmanager
def _opened() -> Iterator[Check]:
    with opened() as parts:
        yield lambda data: _check(parts, data)


def _check(parts: PluginParts, data: bytes) -> str:
    form, rules, topics, requests, qos, retain = pieces.unpack(data)
    permissions = Permissions(Form(form), tuple(map(_unpacked, rules)))
    demand(parts.ask("load", _record(permissions)) == "loaded", "good permissions are not compiled")
    expected: dict[Asked, bool] = {}
    # Mosquitto looks at a name before it asks the plugin.
    for name in filter(None, map(name_of, topics)):
        text = utf8(name.value)
        expected["publish", text, qos, retain] = permissions.publish(
            name, qos, bool(retain)
        ).allowed
        expected["receive", text] = permissions.receive(name).allowed
    for text in requests:
        asked = filter_of(text)
        allowed = asked is not None and permissions.subscribe(asked, qos).allowed
        expected["subscribe", utf8(text), qos] = allowed
    answers = parts.ask_all(list(expected))
    for (question, right), answer in zip(expected.items(), answers, strict=True):
        demand(answer == str(int(right)), f"C says {answer} to {question!r}, Python {right}")
    return "some allowed" if any(expected.values()) else "none allowed"


def _packed(rule: Rule) -> list[Any]:
    numbers = (rule.effect, rule.operations.value, rule.literal, rule.qos, rule.retain)
    return [str(rule.filter), *map(int, numbers)]


def _unpacked(packed: list[Any]) -> Rule:
    text, effect, operations, literal, qos, retain = packed
    return Rule(
        effect=Effect(effect),
        operations=Operation(operations),
        filter=TopicFilter.parse(text),
        literal=bool(literal),
        qos=qos,
        retain=retain,
    )


def _record(permissions: Permissions) -> bytes:
    grant = Grant(
        expires_at=0,
        principal="p",
        issuer="i",
        subject="s",
        token_id="",
        client=None,
        bound=None,
        permissions=permissions,
    )
    record = Record(
        epoch=1,
        state=SessionState.ONLINE,
        clean=False,
        assigned=False,
        client_id="c",
        grant=grant,
    )
    return encode(record)


TARGET = Target(name="plugin-permissions", invariant=_INVARIANT, make=make, open=_opened)

# SPDX-License-Identifier: Apache-2.0
"""Claims that carry rights, in every way in which the field writes them, changed a little.

``RIGHTS`` holds good ones by the name of their syntax; ``drawn`` puts one to three of them, nearly
always spoilt somewhere, beside the claims that every token has.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from fuzz import trees
from fuzz.chance import Chance
from fuzz.topic_texts import drawn_filter

__all__ = ["BASE", "RIGHTS", "WORDS", "drawn", "overgrown"]

BASE: Final[Mapping[str, Any]] = {
    "iss": "https://as.example",
    "sub": "dev1",
    "client_id": "dev1",
    "aud": ["mqtt", "rabbitmq"],
    "exp": 1_790_003_600,
    "iat": 1_790_000_000,
    "jti": "j",
}
_AIF: Final = [["up/dev1/#", ["pub", "sub"]], ["down/+", ["sub"]], ["$SYS/#", ["pub"]]]
_DETAIL: Final = {
    "type": "mqtt",
    "locations": ["mqtts://broker.example:8883"],
    "actions": ["publish", "subscribe"],
    "topics": ["up/dev1/#", "down/+"],
}

RIGHTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "scopes": {"scope": "mqtt.connect mqtt.publish:up/%23 mqtt.subscribe:$share/g/down/+ openid"},
    "scopes in an array": {"scope": ["mqtt.connect", "mqtt.subscribe:a/#", "a b"]},
    "aif": {
        "scope": base64.urlsafe_b64encode(json.dumps(_AIF, separators=(",", ":")).encode())
        .rstrip(b"=")
        .decode()
    },
    "aif as it is": {"scope": _AIF},
    "authorization_details": {
        "authorization_details": [_DETAIL, {**_DETAIL, "locations": ["other"]}, {"type": "other"}]
    },
    "emqx_acl list": {
        "acl": [
            {
                "permission": "allow",
                "action": "publish",
                "topic": "up/${clientid}/#",
                "qos": [0, 1],
            },
            {"permission": "deny", "action": "subscribe", "topic": "eq down/#", "retain": True},
            {"permission": "allow", "action": "all", "topic": "${username}/+", "qos": 2},
        ]
    },
    "emqx_acl map": {"acl": {"pub": ["a/${clientid}"], "sub": ["eq b/+", "c/#"], "all": ["d"]}},
    "rabbitmq": {
        "scope": "rabbitmq.write:%2F/amq.topic/up.{sub}.* rabbitmq.read:*/*/down.# admin",
        "permissions": ["rabbitmq.configure:*/*"],
        "extra_scope": "rabbitmq.read:/a/b",
    },
    "rabbitmq details": {
        "authorization_details": [
            {
                "type": "rabbitmq",
                "locations": ["cluster:rabbitmq/vhost:%2F/exchange:amq.topic/routing-key:up.*"],
                "actions": ["read", "write"],
            }
        ]
    },
    "roles": {
        "realm_access": {"roles": ["writer", "reader"]},
        "resource_access": {"mqtt": {"roles": ["writer"]}},
        "groups": "writer",
        "https://as.example/roles": ["writer"],
    },
}
WORDS: Final = trees.words(
    "scope acl authorization_details realm_access roles type mqtt rabbitmq locations actions topics"
    " publish subscribe pub sub all allow deny permission action topic qos retain eq"
    " ${clientid} ${username} {device} {sub} rabbitmq.read:*/* mqtt.connect writer"
    " cluster:* vhost:/ # + $share/g/# $SYS/# a/#/b % %2F %00 .. * **"
)
_MANY: Final = (100, 1_000, 5_000)
_LONGEST: Final = 12_000  # bytes of claims that fit into a token


def drawn(chance: Chance) -> trees.Tree:
    """Draw a claims set that says what its bearer may do."""
    rights: dict[str, Any] = {}
    for _ in range(chance.few(3)):
        rights |= chance.one(tuple(RIGHTS.values()))
    members = trees.planted({**BASE, **rights})
    if chance.often(0.1):
        return trees.changed(chance, members, WORDS)
    # What every token has stays good: else nobody would look at the rights.
    at = chance.randrange(len(BASE), len(members))
    words = WORDS if chance.often(0.7) else (drawn_filter(chance),)
    name, value = members[at]
    members[at] = (name, trees.changed(chance, value, words))
    return members


def overgrown(chance: Chance, tree: trees.Tree) -> trees.Tree:
    """Repeat one entry of one array very often: counts have bounds as lengths have."""
    arrays = [node for node in _inside(tree) if type(node) is list and node]
    if arrays:
        array = chance.one(arrays)
        entry = chance.one(array)
        array.extend([entry] * min(chance.one(_MANY), _LONGEST // (len(str(entry)) + 1)))
    return tree


def _inside(tree: trees.Tree) -> list[trees.Tree]:
    found, open_ends = [], [tree]
    while open_ends:
        node = open_ends.pop()
        found.append(node)
        if isinstance(node, trees.Members):
            open_ends += [value for _, value in node]
        elif isinstance(node, list):
            open_ends += node
    return found

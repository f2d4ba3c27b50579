# SPDX-License-Identifier: Apache-2.0
"""Reading rights costs work and memory in proportion to what the claims say, in every syntax."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from keyfob.authorization.policy import Policy
from keyfob.authorization.policy_table import PolicyRule
from keyfob.authorization.syntaxes.aif import Aif
from keyfob.authorization.syntaxes.authorization_details import AuthorizationDetails
from keyfob.authorization.syntaxes.emqx_acl import EmqxAcl
from keyfob.authorization.syntaxes.rabbitmq import RabbitMq
from keyfob.authorization.syntaxes.scopes import NativeScopes
from keyfob.tokens.claims import Claims
from tests.work import stays_within

Said = Callable[[int], dict[str, Any]]

ROOM = 12_000  # bytes of claims that fit into a token
POLICIES = {
    "scopes": Policy(rights=(NativeScopes(),)),
    "authorization_details": Policy(rights=(AuthorizationDetails(),)),
    "aif": Policy(rights=(Aif(),)),
    "rabbitmq": Policy(
        rights=(
            RabbitMq(
                aliases={"admin": ("rabbitmq.read:*/*", "rabbitmq.write:*/*/a.*")},
                resource_server_type="rabbitmq",
            ),
        )
    ),
    "emqx_acl": Policy(rights=(EmqxAcl(),)),
    "policy table": Policy(
        rights=(),
        rules=(PolicyRule(kind="claim", claim="roles", value="writer", publish=("up/{device}",)),),
    ),
}


def _aif(entries: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(entries).encode()).rstrip(b"=").decode()


def _numbers(count: int) -> list[str]:
    return [f"{number:x}" for number in range(count)]


def _acl(**rule: Any) -> dict[str, Any]:
    return {"acl": [{"permission": "allow", "action": "all", **rule}]}


def _details(**detail: Any) -> dict[str, Any]:
    return {"authorization_details": [{"type": "mqtt", "actions": ["publish"], **detail}]}


def _rabbitmq(actions: list[str], locations: list[str]) -> dict[str, Any]:
    return _details(type="rabbitmq", actions=actions, locations=locations)


_KEY = "cluster:rabbitmq/vhost:*/exchange:*/routing-key:a"
SAID: dict[str, Said] = {
    "many scopes": lambda n: {"scope": " ".join(_numbers(n))},
    "an array of scopes": lambda n: {"scope": _numbers(n)},
    "acl: many rules": lambda n: {"acl": [_acl(topic=text)["acl"][0] for text in _numbers(n)]},
    "acl: many topics": lambda n: _acl(topics=_numbers(n)),
    "acl: a map": lambda n: {"acl": {"pub": _numbers(n)}},
    "acl: placeholders": lambda n: _acl(topic="${clientid}" * n),
    "acl: open braces": lambda n: _acl(topic="${" * n),
    "acl: levels": lambda n: _acl(topic="/" * n),
    "acl: qos": lambda n: _acl(topic="a", qos=[0] * n),
    "details: many": lambda n: {"authorization_details": _details()["authorization_details"] * n},
    "details: topics": lambda n: _details(topics=_numbers(n), actions=["publish", "subscribe"]),
    "details: actions": lambda n: _details(topics=["a"], actions=["publish"] * n),
    "details: locations": lambda n: _details(topics=["a"], locations=["x"] * n),
    "rabbitmq: stars": lambda n: {"scope": "rabbitmq.read:*/*/" + "a*" * n},
    "rabbitmq: stars in a vhost": lambda n: {"scope": "rabbitmq.read:" + "*a" * n + "/*"},
    "rabbitmq: many": lambda n: {"scope": [f"rabbitmq.read:*/*/{text}" for text in _numbers(n)]},
    "rabbitmq: variables": lambda n: {"scope": "rabbitmq.read:*/*/" + "{sub}" * n},
    "rabbitmq: aliases": lambda n: {"scope": " ".join(["admin"] * n)},
    "rabbitmq: details": lambda n: _rabbitmq(["read", "write", "configure"], [_KEY] * n),
    "rabbitmq: actions": lambda n: _rabbitmq(["read"] * n, [_KEY] * n),
    "aif: entries": lambda n: {"scope": _aif([[text, ["pub"]] for text in _numbers(n)])},
    "aif: permissions": lambda n: {"scope": _aif([["a", ["pub"] * n]])},
    "aif: arrays": lambda n: {"scope": _aif([["a", []]] * n)},
    "aif: several": lambda n: {"scope": " ".join([_aif([["a", ["pub"]]])] * n)},
    "roles": lambda n: {"roles": _numbers(n)},
}


def filled(said: Said) -> dict[str, Any]:
    """Say it as often as there is room."""
    least, most = 1, ROOM
    while least < most:
        count = (least + most + 1) // 2
        least, most = (count, most) if len(json.dumps(said(count))) <= ROOM else (least, count - 1)
    return said(least)


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_rights_are_read_within_the_bound(policy: Policy, said: Said) -> None:
    members = filled(said)
    claims = Claims.parse({"iss": "i", "aud": "a", "exp": 1, "sub": "dev1", **members})
    stays_within(lambda: policy.permissions(claims, "dev1"), len(json.dumps(members)))

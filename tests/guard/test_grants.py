# SPDX-License-Identifier: Apache-2.0
"""Tokens share permissions exactly where they would get the same ones."""

from __future__ import annotations

from typing import Any

import pytest

from keyfob.authorization.policy import Policy, PolicyRule
from keyfob.authorization.syntaxes.authorization_details import AuthorizationDetails
from keyfob.authorization.syntaxes.emqx_acl import EmqxAcl
from keyfob.authorization.syntaxes.rabbitmq import RabbitMq
from keyfob.errors import KeyfobError
from keyfob.guard.grants import Grants
from keyfob.tokens.verify import VerifiedToken, verify
from tests.guard.world import ISSUER, KEY, NOW, key_set, mint, trusted


def token(device: str = "dev1", **claims: Any) -> VerifiedToken:
    text = mint(device, **claims)
    verified = verify(text, {ISSUER: trusted()}, {ISSUER: key_set(KEY)}, NOW)
    assert isinstance(verified, VerifiedToken)
    return verified


def row(**values: Any) -> PolicyRule:
    return PolicyRule(**{"kind": "scope", "value": "mqtt.connect", **values})


BY_CLAIM = row(kind="claim", claim="role", value="admin", publish=("admin/#",))
BY_PLACEHOLDER = row(publish=("{claim:site}/x",))
BY_NAMES = row(publish=("{device}/{sub}/{client_id}",))


def test_the_next_token_of_a_device_shares_what_its_last_one_was_granted() -> None:
    grants = Grants({ISSUER: Policy(rules=(BY_NAMES,))})
    first = grants.of(token(jti="1"))
    assert grants.of(token(jti="2", iat=int(NOW) - 5)) is first


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": "mqtt.connect mqtt.publish:other"},
        {"device": "dev2"},
        {"client_id": "other"},
        {"role": "admin"},
        {"site": "a"},
        {"authorization_details": [{"type": "mqtt", "actions": ["publish"], "topics": ["x"]}]},
    ],
)
@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy(rules=(BY_NAMES,)),
        Policy(rules=(BY_CLAIM,)),
        Policy(rules=(BY_PLACEHOLDER,)),
        Policy(rights=(RabbitMq(aliases={"mqtt.connect": ("rabbitmq.write:*/*/{site}",)}),)),
        Policy(rights=(AuthorizationDetails(),)),
    ],
)
def test_what_is_shared_is_what_the_policy_says(claims: dict[str, Any], policy: Policy) -> None:
    grants = Grants({ISSUER: policy})
    for each in (token(), token(**claims), token()):
        assert grants.of(each) == policy.permissions(each.claims, each.device)


def test_what_the_policy_does_not_compare_is_read_each_time() -> None:
    grants = Grants({ISSUER: Policy(rights=(EmqxAcl(),))})
    acl = [{"permission": "allow", "action": "all", "topic": "a"}]
    first, second = grants.of(token(acl=acl)), grants.of(token(acl=acl))
    assert first == second
    assert first is not second


def test_the_least_recently_used_goes_first() -> None:
    grants = Grants({ISSUER: Policy()}, size=2)
    first, second = grants.of(token("dev1")), grants.of(token("dev2"))
    assert grants.of(token("dev1")) is first
    grants.of(token("dev3"))
    assert grants.of(token("dev1")) is first
    assert grants.of(token("dev2")) is not second


def test_what_no_broker_can_hold_is_refused_every_time() -> None:
    many = row(publish=tuple(f"a/{number}" for number in range(4097)))
    grants = Grants({ISSUER: Policy(rules=(many,))})
    for _ in range(2):
        with pytest.raises(KeyfobError):
            grants.of(token())

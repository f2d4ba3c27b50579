# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``Policy.permissions`` and every syntax: from claims to what a device may do."""

from __future__ import annotations

import json
from typing import Final

from fuzz import rights_claims, trees
from fuzz.chance import Chance
from fuzz.target import Target, demand
from keyfob.authorization.permissions import MAX_RULES, Effect, Form, Rule
from keyfob.authorization.policy import Granted, Policy
from keyfob.authorization.policy_table import PolicyRule
from keyfob.authorization.syntaxes.aif import Aif
from keyfob.authorization.syntaxes.authorization_details import AuthorizationDetails
from keyfob.authorization.syntaxes.emqx_acl import EmqxAcl
from keyfob.authorization.syntaxes.rabbitmq import RabbitMq
from keyfob.authorization.syntaxes.scopes import NativeScopes
from keyfob.errors import ClaimError, KeyfobError
from keyfob.mqtt.topics import TopicFilter
from keyfob.tokens.claims import Claims
from keyfob.tokens.json_strict import JsonError, loads

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "Whatever the claims say, each syntax gives permissions that a broker can hold, every one a "
    "topic filter whose source can be told, or an error of ours; fewer scopes never allow more."
)
_DEVICE: Final = "dev1"
_ROWS: Final = (
    PolicyRule(kind="scope", value="openid", publish=("up/{device}/#",)),
    PolicyRule(kind="claim", claim="realm_access.roles", value="writer", publish=("w/{sub}",)),
    PolicyRule(kind="claim", claim="groups", value="writer", subscribe=("g/{claim:client_id}/#",)),
)
_RABBITMQ: Final = RabbitMq(
    aliases={"admin": ("rabbitmq.read:*/*", "rabbitmq.write:%2F/amq.topic/a.*")},
    resource_server_type="rabbitmq",
)
_POLICIES: Final = (
    Policy(),
    Policy(rights=(), rules=_ROWS),
    Policy(rights=(AuthorizationDetails(),)),
    Policy(rights=(Aif(),)),
    Policy(rights=(_RABBITMQ,)),
    Policy(rights=(EmqxAcl(),)),
    Policy(rights=(NativeScopes(), AuthorizationDetails(), _RABBITMQ), rules=_ROWS),
)
_CODES: Final = frozenset({"too_many_rules", "permissions_invalid", "claim_invalid"})


def make(chance: Chance) -> bytes:
    """Draw the claims of a token."""
    tree = rights_claims.drawn(chance)
    if chance.often(0.02):
        tree = rights_claims.overgrown(chance, tree)
    return trees.spelled(chance, tree).encode("utf-8")


def check(data: bytes) -> str:
    """Read the rights of one token by every policy."""
    try:
        claims = Claims.parse(_object(data))
    except (JsonError, ClaimError):
        return "no claims"
    given = [_granted(policy, claims) for policy in _POLICIES]
    rules = sum(len(granted.permissions.rules) for granted in given if granted)
    return "refused by some" if None in given else "rules" if rules else "none"


def _object(data: bytes) -> dict[str, object]:
    members = loads(data)
    return members if isinstance(members, dict) else {}


def _granted(policy: Policy, claims: Claims) -> Granted | None:
    try:
        granted = policy.permissions(claims, _DEVICE)
    except KeyfobError as error:
        demand(error.code in _CODES, f"refused as {error.code}")
        return None
    permissions = granted.permissions
    demand(len(permissions.rules) <= MAX_RULES, "more rules than a broker holds")
    for rule in permissions.rules:
        demand(TopicFilter.parse(str(rule.filter)) == rule.filter, "a filter that is none")
        demand(rule.source, "a rule out of nowhere")
    for step in granted.steps:
        demand(step.detail.isprintable() and len(step.detail) < 2_000, "a step nobody can print")
    if permissions.form is Form.ALLOW_ONLY:
        _demand_monotony(policy, claims, permissions.rules)
    return granted


def _demand_monotony(policy: Policy, claims: Claims, rules: tuple[Rule, ...]) -> None:
    demand(all(rule.effect is Effect.ALLOW for rule in rules), "a denial where none can be")
    fewer = json.loads(json.dumps(dict(claims.members)))
    fewer["scope"] = list(claims.scope[::2])
    try:
        left = policy.permissions(Claims.parse(fewer), _DEVICE).permissions.rules
    except KeyfobError:
        return
    known = {(rule.operations, str(rule.filter)) for rule in rules}
    demand(all((r.operations, str(r.filter)) in known for r in left), "fewer scopes allow more")


TARGET = Target.of("rights", _INVARIANT, make, check, share=5)

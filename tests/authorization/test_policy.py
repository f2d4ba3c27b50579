# SPDX-License-Identifier: Apache-2.0
"""Policies: what real tokens allow, what is left out, and why."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import pytest
from hypothesis import given as given_
from hypothesis import strategies as st

from keyfob.authorization.permissions import MAX_RULES, Form
from keyfob.authorization.policy import SYNTAXES, Granted, Policy, PolicyRule
from keyfob.authorization.syntaxes.aif import Aif
from keyfob.authorization.syntaxes.authorization_details import AuthorizationDetails
from keyfob.authorization.syntaxes.emqx_acl import EmqxAcl
from keyfob.authorization.syntaxes.rabbitmq import RabbitMq
from keyfob.authorization.syntaxes.reading import Syntax
from keyfob.authorization.syntaxes.scopes import NativeScopes
from keyfob.errors import ConfigError, KeyfobError
from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import VerifiedToken, verify
from tests.authorization.claims import claims_of, json_values

ISSUER = TrustedIssuer(
    name="local",
    issuer="https://as.example",
    audiences=frozenset({"mqtt"}),
    algorithms=frozenset({"ES256"}),
)
NOW = 1_790_000_000


@cache
def signing_key() -> SigningKey:
    return SigningKey.generate("ES256")


def token(more_scopes: str = "", **claims: Any) -> VerifiedToken:
    members = {
        "iss": ISSUER.issuer,
        "aud": "mqtt",
        "exp": NOW + 60,
        "iat": NOW,
        "jti": "t1",
        "sub": "dev1",
        "client_id": "app-7",
        "scope": f"mqtt.connect {more_scopes}",
    }
    signed = signing_key().sign(members | claims)
    keys = KeySet.from_jwks({"keys": [signing_key().public_jwk()]})
    found = verify(signed, {ISSUER.issuer: ISSUER}, {ISSUER.issuer: keys}, NOW)
    assert isinstance(found, VerifiedToken)
    return found


def row(
    kind: Literal["scope", "claim"], value: str, *subscribe: str, claim: str = "", **more: Any
) -> PolicyRule:
    return PolicyRule(kind=kind, claim=claim, value=value, subscribe=subscribe, **more)


def given(policy: Policy, verified: VerifiedToken, device: str = "dev1") -> Granted:
    granted = policy.permissions(verified.claims, device)
    assert granted.permissions.form is Form.ALLOW_ONLY
    return granted


def told(granted: Granted) -> list[str]:
    words = {1: "publish", 2: "subscribe"}
    return [f"{words[r.operations.value]} {r.filter}" for r in granted.permissions.rules]


def test_native_scopes_speak_for_themselves() -> None:
    granted = given(Policy(), token("mqtt.publish:a/%20 mqtt.subscribe:b/#"))
    assert told(granted) == ["publish a/ ", "subscribe b/#"]
    assert granted.ignored == ()


def test_a_token_that_says_nothing_about_topics_allows_none() -> None:
    granted = given(Policy(), token())
    assert granted.permissions.rules == ()
    assert [(s.check, s.ok) for s in granted.steps] == [("permission", False)]


def test_native_scopes_can_be_turned_off() -> None:
    granted = given(Policy(rights=()), token("mqtt.publish:a openid"))
    assert granted.permissions.rules == ()
    assert [what for what, _ in granted.ignored] == ["scope mqtt.publish:a", "scope openid"]


def test_a_table_gives_a_scope_its_meaning() -> None:
    policy = Policy(rules=(row("scope", "telemetry", "cmd/{device}/#", publish=("t/{device}",)),))
    granted = given(policy, token("telemetry other mqtt.publish:a"))
    assert told(granted) == ["publish a", "publish t/dev1", "subscribe cmd/dev1/#"]
    assert [what for what, _ in granted.ignored] == ["scope other"]
    assert given(policy, token("telemetr")).permissions.rules == ()


@pytest.mark.parametrize(
    ("value", "applies"),
    [
        ("sensor", True),
        (["reader", "sensor"], True),
        ("sensors", False),
        ("reader sensor", False),
        (["reader"], False),
        ([["sensor"]], False),
        ({"sensor": True}, False),
        (True, False),
        (None, False),
        ([], False),
    ],
)
def test_a_claim_applies_by_its_value_or_an_entry_of_its_list(value: Any, applies: bool) -> None:
    policy = Policy(rules=(row("claim", "sensor", "a", claim="realm_access.roles"),))
    granted = given(policy, token(realm_access={"roles": value}))
    assert told(granted) == (["subscribe a"] if applies else [])


def test_a_claim_that_is_no_text_never_equals_its_spelling() -> None:
    policy = Policy(rules=(row("claim", "True", "a", claim="x"), row("claim", "1", "b", claim="x")))
    assert told(given(policy, token(x=[True, 1]))) == []


def test_placeholders_come_from_the_token() -> None:
    template = "{device}/{sub}/{client_id}/{claim:org.unit}/{claim:https://e.example/t}"
    granted = given(
        Policy(rules=(row("scope", "s", template),)),
        token("s", **{"org": {"unit": "u1"}, "https://e.example/t": "acme"}),
        "device-9",
    )
    assert told(granted) == ["subscribe device-9/dev1/app-7/u1/acme"]


@pytest.mark.parametrize(
    "value", ["+", "#", "a/b", "", "a" * 256, "$SYS", 7, True, None, ["a"], {"a": "b"}]
)
def test_a_value_that_is_refused_costs_its_filter_and_no_other(value: Any) -> None:
    policy = Policy(rules=(row("scope", "s", "{claim:x}/#", "b"),))
    granted = given(policy, token("s", x=value))
    assert told(granted) == ["subscribe b"]
    assert [(what, "{claim:x}" in why) for what, why in granted.ignored] == [
        ("{claim:x}/# of scope s", True)
    ]


def test_a_device_name_never_widens_a_filter() -> None:
    policy = Policy(rules=(row("scope", "s", "{device}/#"),))
    for device in ("+", "#", "$SYS", "a/b", ""):
        assert told(given(policy, token("s"), device)) == []


def test_the_steps_tell_what_gave_and_what_was_left_out_and_why() -> None:
    policy = Policy(
        rules=(
            row("claim", "admin", "#", claim="roles"),
            row("scope", "s", "{claim:tenant}/x", publish=("{device}/up",)),
        )
    )
    steps = given(policy, token("s openid mqtt.publish:a# mqtt.publish:b", roles=["admin"])).steps
    assert [(step.ok, step.detail) for step in steps] == [
        (True, "publish b by scope mqtt.publish:b"),
        (True, "subscribe # by roles=admin"),
        (True, "publish dev1/up by scope s"),
        (
            False,
            "scope mqtt.publish:a# is ignored: topic filter 'a#' has a wildcard inside a level",
        ),
        (False, "{claim:tenant}/x of scope s is ignored: there is no text for {claim:tenant}"),
        (False, "scope openid is ignored: no syntax and no policy row reads it"),
    ]


def test_the_steps_show_a_hostile_scope_escaped_and_short() -> None:
    hostile = ["mqtt.publish:\n\x1b[2J" + "a" * 5000, "mqtt.publish:%0A\u202e"]
    for step in given(Policy(), token(scope=["mqtt.connect", *hostile])).steps:
        assert step.detail.isprintable()
        assert len(step.detail) < 400


def test_more_permissions_than_a_broker_holds_are_refused_as_a_whole() -> None:
    filters = tuple(f"a/{number}" for number in range(MAX_RULES))
    policy = Policy(rules=(row("scope", "s", *filters),))
    assert len(given(policy, token("s")).permissions.rules) == MAX_RULES
    with pytest.raises(KeyfobError) as caught:
        policy.permissions(token("s mqtt.publish:a").claims, "dev1")
    assert caught.value.code == "too_many_rules"


@pytest.mark.parametrize(
    ("template", "word"),
    [
        ("a#", "wildcard"),
        ("", "empty"),
        ("{devic}/a", "{devic}"),
        ("{claim:}/a", "{claim:}"),
        ("{claim}/a", "{claim}"),
        ("{device/a", "brace"),
        ("$share/g", "share"),
    ],
)
def test_a_template_that_no_token_can_fill_is_a_mistake_in_the_configuration(
    template: str, word: str
) -> None:
    for side in ("publish", "subscribe"):
        with pytest.raises(ConfigError) as caught:
            PolicyRule(kind="scope", value="s", **{side: (template,)})  # type: ignore[arg-type]
        assert word in caught.value.message
        assert "scope s" in caught.value.message


def test_a_share_is_for_subscribing_only() -> None:
    with pytest.raises(ConfigError, match="shared"):
        PolicyRule(kind="scope", value="s", publish=("$share/g/a",))
    granted = given(Policy(rules=(row("scope", "s", "$share/{device}/a"),)), token("s"))
    assert told(granted) == ["subscribe $share/dev1/a"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "scope", "value": ""},
        {"kind": "scope", "claim": "a", "value": "b"},
        {"kind": "claim", "value": "a"},
        {"kind": "claim", "claim": "a", "value": ""},
    ],
)
def test_a_row_names_a_scope_or_a_claim_with_its_value(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="policy row"):
        PolicyRule(**wrong)


def test_syntaxes_add_up_and_a_scope_that_one_of_them_reads_is_not_unknown() -> None:
    details = [{"type": "mqtt", "actions": ["publish"], "topics": ["d"]}]
    policy = Policy(
        rights=(NativeScopes(), AuthorizationDetails(), Aif(), RabbitMq()),
        rules=(row("scope", "s", "row"),),
    )
    granted = given(
        policy,
        token("mqtt.publish:n rabbitmq.read:*/*/r s other", authorization_details=details),
    )
    assert told(granted) == ["publish n", "publish d", "subscribe r", "subscribe row"]
    assert granted.ignored == (("scope other", "no syntax and no policy row reads it"),)


@pytest.mark.parametrize(
    ("rights", "rules"),
    [
        ((EmqxAcl(), NativeScopes()), ()),
        ((RabbitMq(), EmqxAcl()), ()),
        ((EmqxAcl(),), (row("scope", "s", "a"),)),
    ],
)
def test_what_can_deny_stands_alone(
    rights: tuple[Syntax, ...], rules: tuple[PolicyRule, ...]
) -> None:
    with pytest.raises(ConfigError, match="emqx_acl can deny"):
        Policy(rights=rights, rules=rules)


def test_a_syntax_stands_once() -> None:
    with pytest.raises(ConfigError, match="aif stands twice"):
        Policy(rights=(Aif(), NativeScopes(), Aif()))


def test_every_syntax_is_found_by_its_name() -> None:
    assert [SYNTAXES[name]().name for name in SYNTAXES] == list(SYNTAXES)
    assert list(SYNTAXES) == ["scopes", "authorization_details", "aif", "emqx_acl", "rabbitmq"]


def test_the_steps_of_ordered_rules_tell_all_of_a_rule() -> None:
    acl = [
        {"permission": "deny", "action": "pub", "topic": "a", "qos": [1, 2], "retain": True},
        {"permission": "deny", "action": "all", "topic": "eq b/#", "retain": False},
    ]
    policy = Policy(rights=(EmqxAcl(),))
    denied = policy.permissions(token(acl=acl).claims, "dev1")
    assert [(step.ok, step.detail) for step in denied.steps] == [
        (False, "deny publish a at QoS 1, 2 retained by acl[0]"),
        (False, "deny publish and subscribe b/# literally not retained by acl[1]"),
        (False, "the token allows no topic"),
    ]
    some = [{"permission": "allow", "action": "sub", "topic": "a"}]
    allowed = policy.permissions(token(acl=acl + some).claims, "dev1")
    assert allowed.steps[-1].detail == "subscribe a by acl[2]"


def test_what_cannot_be_read_refuses_the_token() -> None:
    for rights, claims in (
        (EmqxAcl(), {"acl": "x"}),
        (AuthorizationDetails(), {"authorization_details": {}}),
        (Aif(), {"scope": "mqtt.connect W10"}),
    ):
        with pytest.raises(KeyfobError) as caught:
            Policy(rights=(rights,)).permissions(token(**claims).claims, "dev1")
        assert caught.value.code == "permissions_invalid"


@given_(st.lists(st.tuples(json_values, json_values), min_size=2, max_size=2))
def test_what_two_tokens_agree_in_grants_the_same(pair: list[tuple[Any, Any]]) -> None:
    policy = Policy(
        rights=(NativeScopes(), RabbitMq(scope_prefix=""), AuthorizationDetails(), Aif()),
        rules=(
            row("claim", "sub", "{claim:b}/x", claim="a"),
            row("claim", "a", "{claim:/a/b}", claim="b"),
            PolicyRule(kind="claim", claim="a", value=True, publish=("true",)),
            PolicyRule(kind="claim", claim="a", value=1, publish=("one",)),
        ),
    )
    first, second = (claims_of(a=a, b=b, scope="write:*/*/v.{a}.{b}") for a, b in pair)
    if policy.reads(first) == policy.reads(second):
        assert policy.permissions(first, "dev1") == policy.permissions(second, "dev1")


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ({"a": True}, {"a": 1}, False),
        ({"a": [1]}, {"a": [True]}, False),
        ({"a": "x"}, {"a": ["x"]}, False),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, True),
        ({"a": 1.5}, {"a": 2.5}, True),
        ({"other": 1}, {"other": 2}, True),
        ({"sub": "d"}, {"sub": "e"}, False),
        ({"client_id": "d"}, {"client_id": "e"}, False),
        ({"scope": "d"}, {"scope": "e"}, False),
    ],
)
def test_a_table_looks_at_what_its_rows_name(
    first: dict[str, Any], second: dict[str, Any], alike: bool
) -> None:
    for rule in (row("claim", "x", "b", claim="a"), row("scope", "s", "{claim:a}")):
        policy = Policy(rules=(rule,))
        assert (policy.reads(claims_of(**first)) == policy.reads(claims_of(**second))) is alike


@pytest.mark.parametrize("claims", [{"acl": []}, {"acl": {}}])
def test_what_is_costly_to_compare_is_not_compared(claims: dict[str, Any]) -> None:
    assert Policy(rights=(EmqxAcl(),)).reads(claims_of(**claims)) is None
    assert Policy(rights=(EmqxAcl(),)).reads(claims_of()) is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "scope", "value": 1},
        {"kind": "claim", "claim": "/a~2", "value": "b"},
        {"kind": "claim", "claim": "/a~", "value": "b"},
    ],
)
def test_a_scope_is_a_text_and_a_pointer_is_one(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="policy for"):
        PolicyRule(**wrong)


def test_a_row_is_told_as_json_writes_its_value() -> None:
    values: list[tuple[str | bool | int, str]] = [(True, "true"), (1, "1"), ("x", "x")]
    for value, text in values:
        assert PolicyRule(kind="claim", claim="c", value=value).source == f"c={text}"

# SPDX-License-Identifier: Apache-2.0
"""EMQX's claims: EMQX's own answers to PUBLISH, and never more than they allow to SUBSCRIBE."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.authorization.permissions import ANY_QOS, Effect, Form, Operation, Permissions
from keyfob.authorization.syntaxes.emqx_acl import (
    MAX_ENTRIES,
    MAX_SPELLED,
    EmqxAcl,
    parse_acl,
)
from keyfob.authorization.syntaxes.emqx_topics import parse_topic
from keyfob.errors import ConfigError, KeyfobError, TopicError
from keyfob.mqtt.topics import TopicFilter, TopicName
from tests.authorization.claims import READABLE_OR_REFUSED, claims_of, code_of, json_values
from tests.authorization.syntaxes.emqx import authorize
from tests.authorization.topics import filter_texts, filters, names, names_in

CLIENT = {"clientid": "a", "username": "t"}
CONDITIONS = ("ipaddr", "clientid_re", "zone")
qos_values = st.integers(0, 2)
topics = (
    filter_texts()
    | filter_texts().map("eq ".__add__)
    | st.sampled_from(
        ["${clientid}/#", "+/${username}", "t/${clientid}/b", "eq ${clientid}", "a/${username}b"]
    )
)


@st.composite
def rules(draw: st.DrawFn, *, conditions: tuple[str, ...] = ()) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "permission": draw(st.sampled_from(["allow", "allow", "deny"])),
        "action": draw(st.sampled_from(["pub", "publish", "sub", "subscribe", "all"])),
    }
    if draw(st.booleans()):
        rule["topic"] = draw(topics)
    else:
        rule["topics"] = draw(st.lists(topics, max_size=3))
    if draw(st.booleans()):
        rule["qos"] = draw(st.sampled_from([0, 1, [0, 2], [], "1,2", [1]]))
    if draw(st.booleans()):
        rule["retain"] = draw(st.sampled_from([True, False, "all"]))
    for condition in conditions:
        if draw(st.integers(0, 3)) == 0:
            rule[condition] = "x"
    return rule


lists = st.lists(rules(), max_size=5)
maps = st.dictionaries(st.sampled_from(["pub", "sub", "all"]), st.lists(topics, max_size=3))


def permissions_of(acl: Any) -> Permissions:
    reading = parse_acl(acl, CLIENT)
    return Permissions(reading.form, reading.rules)


@given(lists | maps, names, qos_values, st.booleans())
def test_every_publish_is_answered_as_emqx_does(
    acl: Any, name: TopicName, qos: int, retain: bool
) -> None:
    theirs = authorize(acl, CLIENT, "publish", name.value, qos=qos, retain=retain)
    assert permissions_of(acl).publish(name, qos, retain).allowed is theirs


@given(lists | maps, filters, qos_values)
def test_no_subscription_is_allowed_that_emqx_refuses(
    acl: Any, requested: TopicFilter, qos: int
) -> None:
    if permissions_of(acl).subscribe(requested, qos).allowed:
        assert authorize(acl, CLIENT, "subscribe", requested.value, qos=qos, retain=False)


@given(st.data(), lists | maps, filters, qos_values)
def test_a_subscription_is_allowed_only_where_emqx_allows_each_of_its_topics(
    data: st.DataObject, acl: Any, requested: TopicFilter, qos: int
) -> None:
    verdict = permissions_of(acl).subscribe(requested, qos)
    if verdict.allowed and verdict.rule and not verdict.rule.is_verbatim:
        name = data.draw(names_in(requested))
        assert authorize(acl, CLIENT, "subscribe", name.value, qos=qos, retain=False)


@given(
    st.lists(rules(conditions=CONDITIONS), max_size=5),
    names,
    qos_values,
    st.booleans(),
    st.sets(st.sampled_from(CONDITIONS)),
)
def test_whatever_a_condition_would_be_nothing_more_is_allowed(
    acl: Any, name: TopicName, qos: int, retain: bool, true: set[str]
) -> None:
    permissions = permissions_of(acl)

    def emqx(action: str) -> bool:
        return authorize(
            acl, CLIENT, action, name.value, qos=qos, retain=retain, holds=true.__contains__
        )

    assert emqx("publish") or not permissions.publish(name, qos, retain).allowed
    assert emqx("subscribe") or not permissions.subscribe(TopicFilter(name.value), qos).allowed


@given(json_values, st.dictionaries(st.sampled_from(["clientid", "username"]), st.text(max_size=3)))
def test_any_json_is_read_or_refused_with_a_code(acl: Any, values: dict[str, str]) -> None:
    assert code_of(lambda: parse_acl(acl, values)) in READABLE_OR_REFUSED


def test_more_rules_than_the_bound_are_refused_and_not_cut() -> None:
    rule = {"permission": "allow", "action": "all", "topics": []}
    assert parse_acl([rule] * MAX_ENTRIES, CLIENT).rules == ()
    with pytest.raises(KeyfobError) as caught:
        parse_acl([rule] * (MAX_ENTRIES + 1), CLIENT)
    assert caught.value.code == "too_many_rules"


def test_a_rule_names_its_place_and_what_was_left_out_its_reason() -> None:
    reading = EmqxAcl(claim="rights").read(
        claims_of(
            rights=[
                {"permission": "deny", "action": "pub", "topic": "a", "qos": 1, "zone": "z"},
                {"permission": "allow", "action": "sub", "topic": "b", "ipaddr": "10.0.0.0/8"},
                {"permission": "allow", "action": "all", "topics": ["c", "${username}"]},
                {"permission": "allow", "action": "all", "topic": "d", "qos": []},
                {"permission": "allow", "action": "all", "topics": []},
            ]
        ),
        "dev1",
    )
    assert [(r.source, r.effect, str(r.filter), r.qos) for r in reading.rules] == [
        ("rights[0]", Effect.DENY, "a", 2),
        ("rights[2]", Effect.ALLOW, "c", ANY_QOS),
    ]
    assert reading.ignored == (
        ("zone of rights[0]", "the rule denies in any case"),
        ("rights[1]", "its condition cannot be judged here: ipaddr"),
        ("${username} of rights[2]", "there is no text for {username}"),
        ("rights[3]", "it names no QoS"),
        ("rights[4]", "it names no topic"),
    )
    assert reading.form is Form.FIRST_MATCH


def test_a_text_is_one_subscription_with_all_that_it_brings() -> None:
    permissions = permissions_of({"sub": ["eq t/#", "eq u"]})
    assert permissions.subscribe(TopicFilter("t/#")).allowed
    assert not permissions.subscribe(TopicFilter("t/a")).allowed
    assert permissions.receive(TopicName("t/a")).allowed
    assert permissions.receive(TopicName("u")).allowed
    assert not permissions.receive(TopicName("v")).allowed


def test_more_texts_with_wildcards_than_the_bound_are_refused() -> None:
    some = [f"eq t/{number}/#" for number in range(MAX_SPELLED)]
    assert len(parse_acl({"all": [*some, "eq t"]}, CLIENT).rules) == MAX_SPELLED + 1
    with pytest.raises(KeyfobError) as caught:
        parse_acl({"sub": some, "pub": ["eq t/+"]}, CLIENT)
    assert caught.value.code == "too_many_rules"


def test_a_map_allows_only_and_what_it_does_not_know_is_told() -> None:
    reading = parse_acl({"pub": ["a"], "all": ["b"], "publish": ["c"]}, CLIENT)
    assert reading.form is Form.ALLOW_ONLY
    both = Operation.PUBLISH | Operation.SUBSCRIBE
    assert [(str(r.filter), r.operations) for r in reading.rules] == [
        ("a", Operation.PUBLISH),
        ("b", both),
    ]
    assert reading.ignored == (("acl.publish", "it is none of pub, sub and all"),)


def test_a_token_without_the_claim_says_so() -> None:
    assert EmqxAcl().read(claims_of(), "dev1").ignored == (("the claim acl", "the token has none"),)
    assert EmqxAcl().looks_at(claims_of()) == ()
    assert EmqxAcl().looks_at(claims_of(acl=[])) is None


def test_the_claim_has_a_name() -> None:
    with pytest.raises(ConfigError, match="claim"):
        EmqxAcl(claim="")


@pytest.mark.parametrize(
    ("text", "filter_text", "literal"),
    [
        ("t/${clientid}", "t/a", False),
        ("t/${.clientid}", "t/a", False),
        ("eq t/${clientid}", "t/${clientid}", True),
        ("eq eq t", "eq t", True),
        ("t/${$}{clientid}", "t/${clientid}", False),
        ("${$}x", "$x", False),
        ("t/${other}/${clientid}", "t/${other}/a", False),
        ("t/${}/{}/}{", "t/${}/{}/}{", False),
        ("${username}${clientid}/#", "ta/#", False),
    ],
)
def test_a_topic_is_read_as_emqx_documents_it(text: str, filter_text: str, literal: bool) -> None:
    assert parse_topic(text, CLIENT) == (TopicFilter(filter_text), literal)


@pytest.mark.parametrize("text", ["${$}share/g/a", "$share/g/a", "eq $share/g/a", "eq $share"])
def test_no_topic_is_a_share_group(text: str) -> None:
    with pytest.raises(TopicError):
        parse_topic(text, CLIENT)

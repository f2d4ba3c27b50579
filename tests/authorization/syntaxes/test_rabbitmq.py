# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ's scopes: what they allow here, RabbitMQ allows with the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.authorization.permissions import Operation, Permissions
from keyfob.authorization.syntaxes.rabbitmq import MAX_SCOPES, RabbitMq
from keyfob.authorization.syntaxes.rabbitmq_details import MAX_DETAILS, scopes_in_details
from keyfob.authorization.syntaxes.rabbitmq_patterns import Pattern
from keyfob.errors import ConfigError, KeyfobError, TopicError
from keyfob.mqtt.topics import TopicFilter, TopicName
from tests.authorization.claims import READABLE_OR_REFUSED, claims_of, code_of, json_values
from tests.authorization.syntaxes.rabbit import mqtt_to_amqp, topic_access, wildcard_match
from tests.authorization.topics import filters_in, names_in

pieces = st.sampled_from(["a", "b", ".", ".", "*", "*", "t", "$x", "+", "%2A", "%2F", "%", "é"])
patterns = st.lists(pieces, max_size=8).map("".join)
ends_open = patterns.map(lambda text: text.rstrip("*") + "*")
words = st.sampled_from(["a", "b", ".", ".", "t", "$x", "+", "%2A", "é"])
texts = st.lists(words, min_size=1, max_size=3).map("".join)
starred = st.lists(texts, min_size=1, max_size=3).map(lambda some: "*".join([*some, ""]))
fitting_keys = texts | starred | starred.map("*".__add__)
fitting_vhosts = st.sampled_from(["*", "%2F", "%2f*", "**"])
fitting_exchanges = st.sampled_from(["*", "amq.topic", "amq.*", "*topic", "a*q.*c"])
vhosts = fitting_vhosts | st.sampled_from(["/", "x", "x", ""])
exchanges = fitting_exchanges | st.sampled_from(["other", ""])


@st.composite
def scopes(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["read", "write", "write", "configure", "tag"]))
    parts = [draw(vhosts), draw(exchanges), draw(fitting_keys | patterns | ends_open)]
    return f"{kind}:{'/'.join(parts[: draw(st.sampled_from([3, 3, 3, 3, 2]))])}"


@st.composite
def scopes_with(draw: st.DrawFn, kind: str) -> list[str]:
    """Give scopes of which at least one of the kind says something about topics."""
    says = [kind + ":" + draw(fitting_vhosts), draw(fitting_exchanges), draw(fitting_keys)]
    return draw(
        st.permutations(["/".join(says), *draw(st.lists(scopes(), min_size=1, max_size=3))])
    )


def permissions_of(given_scopes: list[str], **options: Any) -> Permissions:
    claims = claims_of(scope=[f"rabbitmq.{scope}" for scope in given_scopes])
    return Permissions.allow_only(RabbitMq(**options).read(claims, "dev1").rules)


def granted(permissions: Permissions, operation: Operation) -> st.SearchStrategy[TopicFilter]:
    """Give the filter of a rule about the operation."""
    return st.sampled_from(
        [rule.filter for rule in permissions.rules if operation in rule.operations]
    )


def rabbit_allows(permission: str, name: TopicName, given_scopes: list[str]) -> bool:
    return topic_access("/", "amq.topic", mqtt_to_amqp(name.value), permission, given_scopes)


@given(patterns, st.text(st.sampled_from("ab.t$*/ é"), max_size=10))
def test_a_pattern_matches_what_rabbitmq_says(text: str, subject: str) -> None:
    theirs = wildcard_match(subject.encode(), text.encode())
    try:
        ours = Pattern.parse(text).matches(subject)
    except TopicError:
        ours = False
    assert ours is theirs


@given(st.data(), scopes_with("write"))
def test_no_publish_is_allowed_that_rabbitmq_refuses(
    data: st.DataObject, given_scopes: list[str]
) -> None:
    permissions = permissions_of(given_scopes)
    name = data.draw(names_in(data.draw(granted(permissions, Operation.PUBLISH))))
    assert permissions.publish(name).allowed
    assert rabbit_allows("write", name, given_scopes)


@settings(max_examples=400)
@given(st.data(), patterns | ends_open)
def test_every_topic_within_the_filter_of_a_pattern_has_a_routing_key_that_it_matches(
    data: st.DataObject, text: str
) -> None:
    try:
        topic_filter = Pattern.parse(text).topic_filter()
    except TopicError:
        return
    name = data.draw(names_in(topic_filter))
    assert wildcard_match(mqtt_to_amqp(name.value), text.encode())


@given(st.data(), scopes_with("read"))
def test_a_subscription_brings_no_topic_that_rabbitmq_refuses_to_subscribe_to(
    data: st.DataObject, given_scopes: list[str]
) -> None:
    permissions = permissions_of(given_scopes)
    requested = data.draw(filters_in(data.draw(granted(permissions, Operation.SUBSCRIBE))))
    assert permissions.subscribe(requested).allowed
    name = data.draw(names_in(requested))
    assert permissions.receive(name).allowed
    assert rabbit_allows("read", name, given_scopes)


@pytest.mark.parametrize(
    ("text", "topic_filter", "whole"),
    [
        ("*", "#", True),
        ("a", "a", True),
        ("a.b", "a/b", True),
        ("a.*", "a/+/#", True),
        ("a*", "a/#", False),
        ("a.b*", "a/b/#", False),
        ("*.b.*", "+/b/+/#", False),
        ("a*.b*c.*", "a/bc/+/#", False),
        (".*", "/+/#", True),
        ("a%2Eb", "a/b", True),
        ("a+b%2Ac", "a b*c", True),
    ],
)
def test_a_pattern_is_translated_to_a_filter_within_it(
    text: str, topic_filter: str, whole: bool
) -> None:
    pattern = Pattern.parse(text)
    assert (str(pattern.topic_filter()), pattern.is_told_whole) == (topic_filter, whole)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a.*.b", "follows the last"),
        ("*b", "follows the last"),
        ("a**", "in a row"),
        ("a.**.b", "in a row"),
        ("a.#", "no topic"),
        ("a%2Fb", "no topic"),
        ("a%2B", "no topic"),
        ("a%00*", "no topic"),
        ("$share.g.a", "share"),
        ("", "empty"),
    ],
)
def test_a_pattern_without_a_filter_within_it_gives_none(text: str, why: str) -> None:
    with pytest.raises(TopicError, match=why):
        Pattern.parse(text).topic_filter()


def test_why_a_star_before_the_end_gives_nothing() -> None:
    assert wildcard_match(mqtt_to_amqp("a/x/b"), b"a.*.b")
    assert not wildcard_match(mqtt_to_amqp("a/x.b.c/b"), b"a.*.b")


def test_what_gave_nothing_or_not_all_says_why() -> None:
    reading = RabbitMq(aliases={"role": ("rabbitmq.write:*/*/up", "other.x")}).read(
        claims_of(
            scope="role openid rabbitmq.read:*/*/a.*.b rabbitmq.read:*/*/t* rabbitmq.tag:x"
            " rabbitmq.read:*/q rabbitmq.read:v/*/a rabbitmq.read:*/q/a rabbitmq.read:{}/*/a"
            " rabbitmq.read:*/*/{ rabbitmq.what"
        ),
        "dev1",
    )
    assert [(rule.source, str(rule.filter)) for rule in reading.rules] == [
        ("scope role, alias of write:*/*/up", "up"),
        ("scope rabbitmq.read:*/*/t*", "t/#"),
    ]
    whys = {what.removeprefix("scope rabbitmq."): why for what, why in reading.ignored}
    assert list(whys) == [
        "read:*/*/a.*.b", "the rest of scope rabbitmq.read:*/*/t*", "tag:x", "read:*/q",
        "read:v/*/a", "read:*/q/a", "read:{}/*/a", "read:*/*/{", "what",
    ]  # fmt: skip
    assert "virtual host" in whys["read:v/*/a"]
    assert "queue" in whys["read:*/q/a"]
    assert whys["the rest of scope rabbitmq.read:*/*/t*"] == "MQTT can say t/# of it"
    assert "openid" not in reading.scopes
    assert {"role", "rabbitmq.what"} <= reading.scopes


@pytest.mark.parametrize("value", ["a.b", "*", "a/b", "%2A", "+", "#", "{sub}", "", "é" * 128, 7])
def test_a_value_fills_a_part_of_one_word_or_its_scope_gives_nothing(value: Any) -> None:
    claims = claims_of(x=value, scope="rabbitmq.write:*/*/u.{x}.*")
    reading = RabbitMq().read(claims, "dev1")
    assert reading.rules == ()
    assert "{x}" in reading.ignored[0][1]


def test_what_a_reading_depends_on_is_told() -> None:
    syntax = RabbitMq(resource_server_type="rabbitmq", aliases={"r": ("rabbitmq.read:*/*/{b}",)})
    scope = "rabbitmq.read:*/*/{a} r"
    assert syntax.looks_at(claims_of(scope=scope, a="1", b="2", c="3")) == (("a", "1"), ("b", "2"))
    assert syntax.looks_at(claims_of(scope=scope, a=1, b="2")) == (("b", "2"),)
    assert syntax.looks_at(claims_of(scope=scope, authorization_details=[])) is None
    assert RabbitMq().looks_at(claims_of(scope="x", authorization_details=[])) == ()


def test_more_scopes_than_rabbitmq_reads_are_refused_and_not_cut() -> None:
    many = [f"rabbitmq.write:*/*/a{number}" for number in range(MAX_SCOPES)]
    assert len(RabbitMq().read(claims_of(scope=many), "dev1").rules) == MAX_SCOPES
    with pytest.raises(KeyfobError) as caught:
        RabbitMq().read(claims_of(scope=[*many, "rabbitmq.write:*/*/b"]), "dev1")
    assert caught.value.code == "too_many_rules"
    with pytest.raises(KeyfobError) as caught:
        scopes_in_details([{}] * (MAX_DETAILS + 1), "rabbitmq", "rabbitmq")
    assert caught.value.code == "too_many_rules"


@given(json_values, st.lists(st.text(max_size=5) | scopes(), max_size=3), json_values)
def test_any_json_is_read_or_refused_with_a_code(
    details: Any, given_scopes: list[str], value: Any
) -> None:
    syntax = RabbitMq(scope_prefix="", resource_server_type="rabbitmq")
    claims = claims_of(authorization_details=details, scope=given_scopes, a=value)
    assert code_of(lambda: syntax.read(claims, "dev1")) in READABLE_OR_REFUSED
    hash(syntax.looks_at(claims))


@pytest.mark.parametrize("wrong", [{"vhost": ""}, {"exchange": ""}])
def test_a_broker_has_a_virtual_host_and_an_exchange(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="vhost"):
        RabbitMq(**wrong)


def test_the_options_cannot_be_changed_from_outside() -> None:
    aliases = {"r": ["rabbitmq.write:*/*/a"]}
    syntax = RabbitMq(aliases=aliases)  # type: ignore[arg-type]
    aliases["r"].append("rabbitmq.write:*/*/*")
    assert syntax.aliases == {"r": ("rabbitmq.write:*/*/a",)}
    assert hash(syntax) == hash(RabbitMq(aliases={"other": ()}))

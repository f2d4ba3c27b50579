# SPDX-License-Identifier: Apache-2.0
"""Native scopes: decoded strictly and once, encoded without loss, never wider than they say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.authorization.permissions import Operation, Rule
from keyfob.authorization.syntaxes.scopes import (
    encode_scope,
    is_scope_token,
    parse_scope,
    parse_scopes,
    scope_covers,
)
from keyfob.errors import TopicError
from keyfob.mqtt.topics import TopicFilter

texts = st.text(st.sampled_from('a/+#$%2B "\\\n\x7fé日😀~!'), min_size=1, max_size=12)
operations = st.sampled_from((Operation.PUBLISH, Operation.SUBSCRIBE))


def filter_of(text: str) -> TopicFilter | None:
    try:
        return TopicFilter.parse(text)
    except TopicError:
        return None


filters = st.one_of(texts, texts.map("$share/g/".__add__)).map(filter_of).filter(bool)


@pytest.mark.parametrize(
    ("scope", "operation", "text"),
    [
        ("mqtt.publish:a/b", Operation.PUBLISH, "a/b"),
        ("mqtt.subscribe:a/+/#", Operation.SUBSCRIBE, "a/+/#"),
        ("mqtt.subscribe:#", Operation.SUBSCRIBE, "#"),
        ("mqtt.subscribe:/", Operation.SUBSCRIBE, "/"),
        ("mqtt.subscribe:$share/g/a", Operation.SUBSCRIBE, "$share/g/a"),
        ("mqtt.publish:a%20b", Operation.PUBLISH, "a b"),
        ("mqtt.publish:%C3%A9/%e6%97%a5", Operation.PUBLISH, "é/日"),
        ("mqtt.publish:a%2Fb", Operation.PUBLISH, "a/b"),
        ("mqtt.subscribe:a/%2B", Operation.SUBSCRIBE, "a/+"),
        ("mqtt.publish:a%2525", Operation.PUBLISH, "a%25"),
        ("mqtt.publish:%252B", Operation.PUBLISH, "%2B"),
        ("mqtt.publish:a:b", Operation.PUBLISH, "a:b"),
        ("mqtt.publish:mqtt.publish:a", Operation.PUBLISH, "mqtt.publish:a"),
    ],
)
def test_a_native_scope_gives_one_rule(scope: str, operation: Operation, text: str) -> None:
    rule = parse_scope(scope)
    assert rule == Rule(operations=operation, filter=TopicFilter.parse(text))
    assert rule.source == f"scope {scope}"


@pytest.mark.parametrize(
    ("scope", "why"),
    [
        ("", "scope token"),
        ("mqtt.publish:a b", "scope token"),
        ("mqtt.publish:a\t", "scope token"),
        ("mqtt.publish:a\n", "scope token"),
        ('mqtt.publish:"', "scope token"),
        ("mqtt.publish:\\", "scope token"),
        ("mqtt.publish:é", "scope token"),
        ("mqtt.publish:\ud800", "scope token"),
        ("mqtt.connect", "native"),
        ("openid", "native"),
        ("mqtt.publish", "native"),
        ("mqtt.Publish:a", "native"),
        ("xmqtt.publish:a", "native"),
        ("mqtt.subscribe.a", "native"),
        ("mqtt.publish:", "empty"),
        ("mqtt.subscribe:a#", "wildcard"),
        ("mqtt.subscribe:a/%23b", "wildcard"),
        ("mqtt.subscribe:$share/g", "share"),
        ("mqtt.publish:$share/g/a", "shared"),
        ("mqtt.publish:%24share/g/a", "shared"),
        ("mqtt.publish:%", "hexadecimal"),
        ("mqtt.publish:a%2", "hexadecimal"),
        ("mqtt.publish:a%2g", "hexadecimal"),
        ("mqtt.publish:a%%20", "hexadecimal"),
        ("mqtt.publish:%+1", "hexadecimal"),
        ("mqtt.publish:%u0041", "hexadecimal"),
        ("mqtt.publish:%FF", "UTF-8"),
        ("mqtt.publish:%C0%AF", "UTF-8"),
        ("mqtt.publish:%ED%A0%80", "UTF-8"),
        ("mqtt.publish:%C3", "UTF-8"),
        ("mqtt.publish:a%00", "U\\+0000"),
    ],
)
def test_what_is_no_native_scope_is_refused_and_says_why(scope: str, why: str) -> None:
    with pytest.raises(TopicError, match=why):
        parse_scope(scope)


@given(operations, filters)
def test_encoding_a_filter_loses_nothing(operation: Operation, topic_filter: TopicFilter) -> None:
    if operation is Operation.PUBLISH and topic_filter.share_group is not None:
        with pytest.raises(TopicError, match="shared"):
            encode_scope(operation, topic_filter)
        return
    scope = encode_scope(operation, topic_filter)
    assert is_scope_token(scope)
    rule = parse_scope(scope)
    assert (rule.operations, rule.filter) == (operation, topic_filter)


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("a/+/#", "mqtt.subscribe:a/+/#"),
        ("$SYS/[x]~!'()*;:@&=,?", "mqtt.subscribe:$SYS/[x]~!'()*;:@&=,?"),
        ("a b", "mqtt.subscribe:a%20b"),
        ('"\\%', "mqtt.subscribe:%22%5C%25"),
        ("é", "mqtt.subscribe:%C3%A9"),
    ],
)
def test_only_what_a_scope_cannot_hold_is_encoded(text: str, scope: str) -> None:
    assert encode_scope(Operation.SUBSCRIBE, TopicFilter.parse(text)) == scope


@pytest.mark.parametrize("operation", [Operation(0), Operation.PUBLISH | Operation.SUBSCRIBE])
def test_a_native_scope_is_about_one_operation(operation: Operation) -> None:
    with pytest.raises(ValueError, match="one operation"):
        encode_scope(operation, TopicFilter("a"))


def test_a_scope_text_is_cut_at_spaces_and_a_list_is_not() -> None:
    text = parse_scopes("mqtt.connect mqtt.publish:a  mqtt.subscribe:b mqtt.publish:a openid")
    assert [str(rule.filter) for rule in text.rules] == ["a", "b"]
    assert [(i.scope, i.why) for i in text.ignored] == [("openid", "not a native scope")]
    listed = parse_scopes(["mqtt.publish:a", "mqtt.publish:b mqtt.publish:c", ""])
    assert [str(rule.filter) for rule in listed.rules] == ["a"]
    assert [i.scope for i in listed.ignored] == ["mqtt.publish:b mqtt.publish:c"]


@pytest.mark.parametrize("space", ["\t", "\n", "\r\n", "\xa0", "\u2003"])
def test_only_a_space_parts_scopes(space: str) -> None:
    parsed = parse_scopes(f"mqtt.publish:a{space}mqtt.publish:b")
    assert parsed.rules == ()
    assert len(parsed.ignored) == 1


def test_nothing_gives_nothing() -> None:
    for nothing in ("", " ", [], [""], "mqtt.connect"):
        parsed = parse_scopes(nothing)
        assert (parsed.rules, parsed.ignored) == ((), ())


@pytest.mark.parametrize(
    ("registered", "requested", "expected"),
    [
        ("mqtt.connect", "mqtt.connect", True),
        ("anything else", "anything else", True),
        ("mqtt.publish:a/#", "mqtt.publish:a/b", True),
        ("mqtt.publish:a/#", "mqtt.publish:a%2Fb", True),
        ("mqtt.subscribe:a/#", "mqtt.subscribe:$share/g/a", True),
        ("mqtt.publish:a/b", "mqtt.publish:a/#", False),
        ("mqtt.publish:a/+", "mqtt.publish:a/#", False),
        ("mqtt.publish:a", "mqtt.subscribe:a", False),
        ("mqtt.publish:#", "mqtt.publish:$SYS/a", False),
        ("mqtt.publish:#", "mqtt.connect", False),
        ("mqtt.publish:#", "mqtt.publish:a#", False),
        ("mqtt.publish:#", "openid", False),
        ("mqtt.*", "mqtt.publish:a", False),
        ("mqtt.subscribe:$share/g/a", "mqtt.subscribe:a", False),
        ("mqtt.subscribe:$share/g/#", "mqtt.subscribe:$share/h/a", False),
    ],
)
def test_a_scope_is_held_by_its_text_or_by_a_wider_filter(
    registered: str, requested: str, expected: bool
) -> None:
    assert scope_covers(registered, requested) is expected

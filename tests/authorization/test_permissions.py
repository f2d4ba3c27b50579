# SPDX-License-Identifier: Apache-2.0
"""Permissions: the properties of both forms, and what cannot be permissions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.authorization.permissions import (
    ANY_QOS,
    ANY_RETAIN,
    MAX_FILTER_BYTES,
    MAX_RULES,
    Effect,
    Form,
    Operation,
    Permissions,
    Rule,
    Verdict,
)
from keyfob.errors import KeyfobError
from keyfob.mqtt.topics import TopicFilter, TopicName, covers, matches, overlaps

BOTH = Operation.PUBLISH | Operation.SUBSCRIBE
GROUPS = (None, "g", "h")

filters = st.builds(
    TopicFilter,
    st.lists(st.sampled_from(("", "a", "b", "$x", "+", "#")), min_size=1, max_size=3)
    .map("/".join)
    .filter(lambda text: text != "" and "#" not in text[:-1]),
    st.sampled_from(GROUPS),
)
names = (
    st.lists(st.sampled_from(("", "a", "b", "c", "$x")), min_size=1, max_size=3)
    .map("/".join)
    .filter(bool)
    .map(TopicName.parse)
)
qos = st.sampled_from((0, 1, 2))


def rules_with(effects: st.SearchStrategy[Effect]) -> st.SearchStrategy[list[Rule]]:
    rule = st.builds(
        Rule,
        effect=effects,
        operations=st.sampled_from((Operation.PUBLISH, Operation.SUBSCRIBE, BOTH, BOTH)),
        filter=filters,
        literal=st.sampled_from((False, False, True)),
        qos=st.sampled_from((7, 7, 1, 2, 4, 3, 5, 6)),
        retain=st.sampled_from((3, 3, 1, 2)),
    )
    return st.lists(rule, max_size=6)


allow_lists = rules_with(st.just(Effect.ALLOW))
ordered_lists = rules_with(st.sampled_from(Effect))


def allow(text: str, operations: Operation = BOTH, source: str = "") -> Rule:
    return Rule(operations=operations, filter=TopicFilter.parse(text), source=source)


def answers(permissions: Permissions, topic: TopicName, asked: TopicFilter) -> list[bool]:
    """Return every answer about one name and one filter, to compare two sets of permissions."""
    published = [
        permissions.publish(topic, level, retain).allowed
        for level in (0, 1, 2)
        for retain in (False, True)
    ]
    subscribed = [permissions.subscribe(asked, level).allowed for level in (0, 1, 2)]
    return [*published, *subscribed, permissions.receive(topic).allowed]


def about(rule: Rule, operation: Operation, level: int) -> bool:
    return operation in rule.operations and bool(rule.qos >> level & 1)


def publish_reference(rules: list[Rule], topic: TopicName, level: int, retain: bool) -> bool:
    for rule in rules:
        if not about(rule, Operation.PUBLISH, level) or not rule.retain >> retain & 1:
            continue
        if rule.filter.share_group is not None:
            continue
        same_text = rule.filter.value == topic.value
        if same_text if rule.literal else matches(rule.filter, topic):
            return rule.effect is Effect.ALLOW
    return False


def subscribe_reference(rules: list[Rule], asked: TopicFilter, level: int) -> bool:
    for rule in rules:
        if not about(rule, Operation.SUBSCRIBE, level):
            continue
        if rule.filter.share_group not in (None, asked.share_group):
            continue
        if rule.effect is Effect.ALLOW:
            if rule.filter.value == asked.value or (
                not rule.literal and covers(rule.filter, asked)
            ):
                return True
        elif rule.literal and rule.filter.has_wildcard:
            if rule.filter.value == asked.value:
                return False
        elif overlaps(rule.filter, asked):
            return False
    return False


@given(ordered_lists, names, qos, st.booleans())
def test_the_first_rule_about_a_publish_decides(
    rules: list[Rule], topic: TopicName, level: int, retain: bool
) -> None:
    expected = publish_reference(rules, topic, level, retain)
    assert Permissions.first_match(rules).publish(topic, level, retain).allowed is expected


@given(ordered_lists, filters, qos)
def test_the_first_rule_that_settles_a_subscribe_decides(
    rules: list[Rule], asked: TopicFilter, level: int
) -> None:
    expected = subscribe_reference(rules, asked, level)
    assert Permissions.first_match(rules).subscribe(asked, level).allowed is expected


@given(allow_lists, names, filters)
def test_in_the_allow_only_form_both_forms_agree(
    rules: list[Rule], topic: TopicName, asked: TopicFilter
) -> None:
    unordered, ordered = Permissions.allow_only(rules), Permissions.first_match(rules)
    assert answers(unordered, topic, asked) == answers(ordered, topic, asked)


@given(allow_lists.flatmap(lambda r: st.tuples(st.just(r), st.permutations(r))), names, filters)
def test_in_the_allow_only_form_order_never_matters(
    orders: tuple[list[Rule], list[Rule]], topic: TopicName, asked: TopicFilter
) -> None:
    one, other = map(Permissions.allow_only, orders)
    assert answers(one, topic, asked) == answers(other, topic, asked)


@given(allow_lists, names, filters, st.data())
def test_in_the_allow_only_form_removing_a_rule_never_allows_more(
    rules: list[Rule], topic: TopicName, asked: TopicFilter, data: st.DataObject
) -> None:
    kept = data.draw(st.lists(st.sampled_from(rules), unique_by=id) if rules else st.just([]))
    less, more = Permissions.allow_only(kept), Permissions.allow_only(rules)
    pairs = zip(answers(less, topic, asked), answers(more, topic, asked), strict=True)
    assert all(b or not a for a, b in pairs)


@given(ordered_lists, filters, names, qos)
def test_an_allowed_subscription_delivers_all_that_it_matches(
    rules: list[Rule], asked: TopicFilter, topic: TopicName, level: int
) -> None:
    permissions = Permissions.first_match(rules)
    if matches(asked, topic) and permissions.subscribe(asked, level).allowed:
        assert permissions.receive(topic).allowed


@given(ordered_lists, names)
def test_what_is_delivered_could_be_subscribed_to_by_its_own_name_or_as_a_literal_rule_spells(
    rules: list[Rule], topic: TopicName
) -> None:
    permissions = Permissions.first_match(rules)
    askable = [TopicFilter(topic.value, group) for group in GROUPS]
    askable += [rule.filter for rule in rules if rule.is_verbatim and matches(rule.filter, topic)]
    possible = any(
        permissions.subscribe(asked, level).allowed for asked in askable for level in (0, 1, 2)
    )
    assert permissions.receive(topic).allowed is possible


@given(ordered_lists, names, filters)
def test_a_rule_of_denial_in_front_never_allows_more(
    rules: list[Rule], topic: TopicName, asked: TopicFilter
) -> None:
    denial = Rule(effect=Effect.DENY, operations=BOTH, filter=asked)
    less, more = Permissions.first_match([denial, *rules]), Permissions.first_match(rules)
    pairs = zip(answers(less, topic, asked), answers(more, topic, asked), strict=True)
    assert all(b or not a for a, b in pairs)


@given(ordered_lists)
def test_nobody_publishes_to_a_share(rules: list[Rule]) -> None:
    everything = [allow("#"), allow("$share/g/#"), allow("+/+/#"), *rules]
    for text in ("$share", "$share/g", "$share/g/a"):
        assert not Permissions.first_match(everything).publish(TopicName.parse(text)).allowed


@given(ordered_lists, names, filters)
def test_a_verdict_names_the_rule_that_gave_it(
    rules: list[Rule], topic: TopicName, asked: TopicFilter
) -> None:
    permissions = Permissions.first_match(rules)
    for verdict in (
        permissions.publish(topic),
        permissions.subscribe(asked),
        permissions.receive(topic),
    ):
        if verdict.rule is None:
            assert not verdict.allowed
        else:
            assert verdict.rule in rules
            assert verdict.allowed is (verdict.rule.effect is Effect.ALLOW)


@pytest.mark.parametrize("level", [-1, 3, 8])
def test_an_impossible_qos_is_refused(level: int) -> None:
    permissions = Permissions.allow_only([allow("#")])
    assert not permissions.publish(TopicName("a"), level).allowed
    assert not permissions.subscribe(TopicFilter("a"), level).allowed


def test_a_verdict_cannot_be_taken_for_a_boolean() -> None:
    with pytest.raises(TypeError, match="allowed"):
        bool(Verdict(allowed=False))


def test_a_refused_delivery_names_the_first_denial() -> None:
    denials = [
        Rule(effect=Effect.DENY, operations=BOTH, filter=TopicFilter(text), source=text)
        for text in ("b", "a/#", "#")
    ]
    verdict = Permissions.first_match([*denials, allow("a")]).receive(TopicName("a"))
    assert verdict.rule is denials[1]


def test_the_source_explains_and_is_never_compared() -> None:
    with_source, without = allow("a", source="scope x"), allow("a")
    assert with_source == without
    assert hash(with_source) == hash(without)
    verdict = Permissions.allow_only([with_source]).publish(TopicName("a"))
    assert verdict.rule is not None
    assert verdict.rule.source == "scope x"


@pytest.mark.parametrize(
    ("qos_mask", "retain_mask"), [(0, 3), (8, 3), (-1, 3), (7, 0), (7, 4), (7, -1)]
)
def test_a_rule_with_an_impossible_mask_is_none(qos_mask: int, retain_mask: int) -> None:
    with pytest.raises(KeyfobError) as caught:
        Rule(operations=BOTH, filter=TopicFilter("a"), qos=qos_mask, retain=retain_mask)
    assert caught.value.code == "permissions_invalid"


def test_a_rule_about_nothing_is_none() -> None:
    with pytest.raises(KeyfobError) as caught:
        Rule(operations=Operation(0), filter=TopicFilter("a"))
    assert caught.value.code == "permissions_invalid"


def test_the_allow_only_form_takes_no_denial() -> None:
    denial = Rule(effect=Effect.DENY, operations=BOTH, filter=TopicFilter("a"))
    with pytest.raises(KeyfobError) as caught:
        Permissions.allow_only([allow("a"), denial])
    assert caught.value.code == "permissions_invalid"


@pytest.mark.parametrize("form", Form)
def test_more_rules_than_the_link_carries_are_refused(form: Form) -> None:
    rules = tuple(allow(f"a/{number}") for number in range(MAX_RULES + 1))
    assert Permissions(form, rules[:-1]).publish(TopicName(f"a/{MAX_RULES - 1}")).allowed
    with pytest.raises(KeyfobError) as caught:
        Permissions(form, rules)
    assert caught.value.code == "too_many_rules"


def test_more_filter_text_than_the_link_carries_is_refused() -> None:
    quarter = "é" * (MAX_FILTER_BYTES // 8 - 1)
    most = [allow(f"{quarter}/{letter}") for letter in "abcd"]
    assert sum(len(str(rule.filter).encode()) for rule in most) == MAX_FILTER_BYTES
    Permissions.allow_only(most)
    with pytest.raises(KeyfobError) as caught:
        Permissions.allow_only([*most, allow("a")])
    assert caught.value.code == "too_many_rules"


def test_permissions_are_equal_by_form_and_rules_whether_used_or_not() -> None:
    used, unused = (Permissions.allow_only([allow("a")]) for _ in range(2))
    assert used.publish(TopicName("a")).allowed
    assert used == unused
    assert hash(used) == hash(unused)
    assert repr(used) == repr(unused)
    assert used != Permissions.first_match([allow("a")])


def test_the_numbers_are_those_of_the_guard_link() -> None:
    assert (Effect.DENY, Effect.ALLOW) == (0, 1)
    assert (Form.ALLOW_ONLY, Form.FIRST_MATCH) == (0, 1)
    assert (Operation.PUBLISH.value, Operation.SUBSCRIBE.value) == (1, 2)
    assert (ANY_QOS, ANY_RETAIN, MAX_RULES) == (0b111, 0b11, 4096)

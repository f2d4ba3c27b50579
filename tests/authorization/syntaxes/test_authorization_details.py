# SPDX-License-Identifier: Apache-2.0
"""Authorization details: each object means what it says, or the token is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.authorization.permissions import Permissions
from keyfob.authorization.syntaxes.authorization_details import (
    MAX_DETAILS,
    AuthorizationDetails,
    parse_details,
)
from keyfob.errors import KeyfobError
from keyfob.mqtt.topics import TopicFilter, TopicName, covers, matches
from tests.authorization.claims import READABLE_OR_REFUSED, claims_of, code_of, json_values
from tests.authorization.topics import filter_texts, filters, names

details = st.lists(
    st.fixed_dictionaries(
        {
            "type": st.just("mqtt"),
            "actions": st.lists(st.sampled_from(["publish", "subscribe"]), min_size=1, max_size=3),
            "topics": st.lists(filter_texts(), min_size=1, max_size=3),
        },
        optional={"locations": st.lists(st.sampled_from(["here", "there"]), min_size=1)},
    ),
    max_size=4,
)


def said(value: list[dict[str, Any]], action: str) -> list[TopicFilter]:
    """Return the filters that the objects for this broker give for the action."""
    return [
        TopicFilter.parse(topic)
        for detail in value
        if action in detail["actions"] and "here" in detail.get("locations", ["here"])
        for topic in detail["topics"]
    ]


@given(details, names, filters)
def test_exactly_what_one_object_allows_is_allowed(
    value: list[dict[str, Any]], name: TopicName, requested: TopicFilter
) -> None:
    permissions = Permissions.allow_only(parse_details(value, ["here"]).rules)
    published = any(matches(one, name) for one in said(value, "publish"))
    subscribed = any(covers(one, requested) for one in said(value, "subscribe"))
    assert permissions.publish(name, 2, True).allowed is published
    assert permissions.subscribe(requested, 2).allowed is subscribed


@given(details)
def test_an_object_is_a_rule_for_each_topic_or_is_told(value: list[dict[str, Any]]) -> None:
    reading = parse_details(value, ["here"])
    places = {rule.source for rule in reading.rules} | {what for what, _ in reading.ignored}
    assert places == {f"authorization_details[{place}]" for place in range(len(value))}


@given(json_values, st.sampled_from([(), ("a",)]))
def test_any_json_is_read_or_refused_with_a_code(value: Any, locations: tuple[str, ...]) -> None:
    assert code_of(lambda: parse_details(value, locations)) in READABLE_OR_REFUSED


def test_more_objects_than_the_bound_are_refused_and_not_cut() -> None:
    other = {"type": "other"}
    assert len(parse_details([other] * MAX_DETAILS).ignored) == MAX_DETAILS
    with pytest.raises(KeyfobError) as caught:
        parse_details([other] * (MAX_DETAILS + 1))
    assert caught.value.code == "too_many_rules"


def test_a_refusal_names_the_object_and_what_is_wrong_in_it() -> None:
    good = {"type": "mqtt", "actions": ["publish"], "topics": ["a"]}
    with pytest.raises(KeyfobError, match=r"authorization_details\[1\].*'quality\\n'"):
        parse_details([good, good | {"quality\n": 1}])


def test_only_tokens_without_the_claim_are_alike() -> None:
    assert AuthorizationDetails().looks_at(claims_of()) == ()
    assert AuthorizationDetails().looks_at(claims_of(authorization_details=[])) is None

# SPDX-License-Identifier: Apache-2.0
"""AIF scopes: alone in their token, and worth what their JSON says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.authorization.permissions import Permissions
from keyfob.authorization.syntaxes.aif import MAX_CHARS, MAX_ENTRIES, Aif, parse_aif
from keyfob.errors import KeyfobError
from keyfob.mqtt.topics import TopicFilter, TopicName, covers, matches
from keyfob.tokens import base64url
from tests.authorization.claims import READABLE_OR_REFUSED, claims_of, code_of, json_values
from tests.authorization.topics import filter_texts, filters, names

entries = st.lists(
    st.tuples(
        filter_texts(), st.lists(st.sampled_from(["pub", "sub"]), min_size=1, max_size=2)
    ).map(list),
    max_size=5,
)


def encoded(value: Any) -> str:
    return base64url.encode(json.dumps(value).encode()).decode()


@given(entries, names, filters)
def test_exactly_what_one_entry_allows_is_allowed(
    value: list[Any], name: TopicName, requested: TopicFilter
) -> None:
    reading = parse_aif([encoded(value)])
    permissions = Permissions.allow_only(reading.rules)
    published = any("pub" in may and matches(TopicFilter(one), name) for one, may in value)
    subscribed = any("sub" in may and covers(TopicFilter(one), requested) for one, may in value)
    assert permissions.publish(name, 1, True).allowed is published
    assert permissions.subscribe(requested, 1).allowed is subscribed
    assert [rule.source for rule in reading.rules] == [
        f"AIF scope[{place}]" for place in range(len(value))
    ]


@given(json_values.map(encoded) | st.text(max_size=8), st.lists(st.text(max_size=4), max_size=2))
def test_any_scope_is_read_or_refused_with_a_code(scope: str, beside: list[str]) -> None:
    assert code_of(lambda: parse_aif([scope, *beside])) in READABLE_OR_REFUSED


@pytest.mark.parametrize("beside", ["mqtt.connect", "openid", "W10", "mqtt.publish:#"])
def test_an_aif_scope_stands_alone(beside: str) -> None:
    for scope in (["W10", beside], [beside, "W10"]):
        with pytest.raises(KeyfobError, match="beside other scopes") as caught:
            parse_aif(scope)
        assert caught.value.code == "permissions_invalid"


@pytest.mark.parametrize(
    "text",
    ["[" * 5000, '[["a",["pub"]]', '[{"a":1,"a":2}]', "[NaN]", '["\\ud800"]', "", "null", "7"],
)
def test_what_is_no_json_array_is_no_aif(text: str) -> None:
    reading = parse_aif([base64url.encode(text.encode()).decode()])
    assert (reading.rules, reading.scopes) == ((), frozenset())


def test_more_than_the_bounds_is_refused_and_not_cut() -> None:
    entry = ["a", ["pub"]]
    assert len(parse_aif([encoded([entry] * MAX_ENTRIES)]).rules) == MAX_ENTRIES
    assert parse_aif(["x" * MAX_CHARS]).rules == ()
    for scope in (encoded([entry] * (MAX_ENTRIES + 1)), "x" * (MAX_CHARS + 1)):
        with pytest.raises(KeyfobError) as caught:
            parse_aif([scope])
        assert caught.value.code == "too_many_rules"


def test_nothing_but_the_scope_is_looked_at() -> None:
    assert Aif().looks_at(claims_of(anything=1)) == ()

# SPDX-License-Identifier: Apache-2.0
"""Matching, inclusion and intersection against a reference that only knows sets of names.

The reference is a regular expression per filter and a finite universe of names.
The universe is large enough to be exact: it has one level more than any filter of the exhaustive
test, and a level text that no filter mentions.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import TopicError
from keyfob.mqtt.topics import MAX_BYTES, TopicFilter, TopicName, covers, matches, overlaps, witness

FILTER_LEVELS = ("", "a", "b", "$x", "+", "#")
NAME_LEVELS = ("", "a", "b", "c", "$x")
NAMES = tuple(
    TopicName.parse(text)
    for count in (1, 2, 3, 4)
    for levels in product(NAME_LEVELS, repeat=count)
    if (text := "/".join(levels))
)


def valid_filters(most_levels: int) -> list[str]:
    return [
        "/".join(levels)
        for count in range(1, most_levels + 1)
        for levels in product(FILTER_LEVELS, repeat=count)
        if "#" not in levels[:-1] and levels != ("",)
    ]


def pattern_of(text: str) -> re.Pattern[str]:
    """Return what MQTT 5.0 section 4.7 says about ``text`` as a regular expression."""
    body = re.escape(text).replace(r"\+", "[^/]*")
    if text == "#":
        body = ".*"
    elif text.endswith("/#"):
        body = body[: -len(r"/\#")] + "(/.*)?"
    return re.compile(("(?![$])" if text[0] in "+#" else "") + body, re.DOTALL)


@cache
def names_of(text: str) -> int:
    """Return the names that ``text`` matches, as bits."""
    pattern = pattern_of(text)
    return sum(1 << i for i, name in enumerate(NAMES) if pattern.fullmatch(name.value))


level = st.sampled_from(FILTER_LEVELS)
plain_filters = (
    st.lists(level, min_size=1, max_size=6)
    .map("/".join)
    .filter(lambda text: text != "" and "#" not in text[:-1])
    .map(TopicFilter.parse)
)
filters = st.builds(
    TopicFilter,
    plain_filters.map(str),
    st.sampled_from((None, None, "g", "h")),
)
names = (
    st.lists(st.sampled_from(NAME_LEVELS), min_size=1, max_size=7)
    .map("/".join)
    .filter(bool)
    .map(TopicName.parse)
)


def test_every_pair_of_small_filters_agrees_with_the_sets_of_their_names() -> None:
    texts = valid_filters(3)
    parsed = [(TopicFilter.parse(text), names_of(text)) for text in texts]
    assert len(parsed) == 185
    wrong = [
        (str(f), str(g))
        for f, in_f in parsed
        for g, in_g in parsed
        if covers(f, g) is not (in_g & ~in_f == 0) or overlaps(f, g) is not (in_g & in_f != 0)
    ]
    assert wrong == []


def test_every_pair_of_small_filters_has_a_witness_exactly_where_it_is_not_covered() -> None:
    parsed = [TopicFilter.parse(text) for text in valid_filters(3)]
    for f in parsed:
        for g in parsed:
            name = witness(f, g)
            assert covers(f, g) is (name is None)
            if name is not None:
                assert pattern_of(str(g)).fullmatch(name.value)
                assert not pattern_of(str(f)).fullmatch(name.value)


def test_every_small_filter_matches_exactly_the_names_of_the_reference() -> None:
    for text in valid_filters(3):
        topic_filter = TopicFilter.parse(text)
        matched = sum(1 << i for i, name in enumerate(NAMES) if matches(topic_filter, name))
        assert matched == names_of(text), text


@given(plain_filters, names)
def test_matching_agrees_with_the_reference(topic_filter: TopicFilter, name: TopicName) -> None:
    expected = pattern_of(str(topic_filter)).fullmatch(name.value) is not None
    assert matches(topic_filter, name) is expected


@given(filters)
def test_covers_is_reflexive(f: TopicFilter) -> None:
    assert covers(f, f)


@given(filters, filters, filters)
def test_covers_is_transitive(f: TopicFilter, g: TopicFilter, h: TopicFilter) -> None:
    if covers(f, g) and covers(g, h):
        assert covers(f, h)


@given(filters, filters, names)
def test_what_a_covered_filter_matches_the_covering_one_matches(
    f: TopicFilter, g: TopicFilter, name: TopicName
) -> None:
    if covers(f, g) and matches(g, name):
        assert matches(f, name)


@given(plain_filters, plain_filters)
def test_where_a_filter_does_not_cover_a_witness_tells_why(f: TopicFilter, g: TopicFilter) -> None:
    name = witness(f, g)
    assert covers(f, g) is (name is None)
    if name is not None:
        assert TopicName.parse(str(name)) == name
        assert matches(g, name)
        assert not matches(f, name)


@given(filters, filters)
def test_covering_filters_overlap_and_overlapping_is_symmetric(
    f: TopicFilter, g: TopicFilter
) -> None:
    assert overlaps(f, g) is overlaps(g, f)
    if covers(f, g):
        assert overlaps(f, g)


@given(filters, filters, names)
def test_filters_that_match_one_name_overlap(
    f: TopicFilter, g: TopicFilter, name: TopicName
) -> None:
    if matches(f, name) and matches(g, name):
        assert overlaps(f, g)


@given(filters, filters)
def test_a_share_group_narrows_what_is_granted_and_nothing_else(
    f: TopicFilter, g: TopicFilter
) -> None:
    inner_covers = covers(TopicFilter(f.value), TopicFilter(g.value))
    same_group = f.share_group is None or f.share_group == g.share_group
    assert covers(f, g) is (inner_covers and same_group)
    assert overlaps(f, g) is overlaps(TopicFilter(f.value), TopicFilter(g.value))
    assert witness(f, g) == witness(TopicFilter(f.value), TopicFilter(g.value))


@given(st.lists(level, min_size=1, max_size=4).map("/".join))
def test_a_filter_parses_exactly_where_the_grammar_allows(text: str) -> None:
    expected = text != "" and "#" not in text[:-1]
    try:
        parsed = TopicFilter.parse(text)
    except TopicError:
        assert not expected
    else:
        assert expected
        assert str(parsed) == text


@pytest.mark.parametrize(
    ("granted", "requested"),
    [
        ("p/+", "p/#"),
        ("p", "p/+"),
        ("p/", "p/+"),
        ("p/a", "p/+"),
        ("p/#", "q/#"),
        ("p/+/#", "p/#"),
        ("p/b", "p/#"),
    ],
)
def test_the_longest_filters_still_have_a_witness_that_is_a_name(
    granted: str, requested: str
) -> None:
    """The byte limit never turns a filter that does not cover into one that does."""
    letter = requested[0]
    stretched = letter * (MAX_BYTES - len(requested) + 1)
    g = TopicFilter.parse(stretched + requested[1:])
    f = TopicFilter.parse(granted.replace(letter, stretched)[:MAX_BYTES])
    assert len(g.value) == MAX_BYTES
    name = witness(f, g)
    assert name is not None
    assert matches(g, name)
    assert not matches(f, name)
    assert not covers(f, g)


def test_the_deepest_filter_covers_itself_and_not_its_parent() -> None:
    deep = TopicFilter.parse("/" * (MAX_BYTES - 1) + "#")
    assert covers(deep, deep)
    assert covers(TopicFilter.parse("#"), deep)
    assert not covers(deep, TopicFilter.parse("/#"))
    assert not covers(TopicFilter.parse("/" * (MAX_BYTES - 2)), deep)


def test_filters_overlap_even_where_their_common_names_are_too_long() -> None:
    """This errs on the side of a deny rule, and the C side does the same."""
    long = "a" * 40_000
    assert overlaps(TopicFilter.parse("+/" + long), TopicFilter.parse(long + "/+"))

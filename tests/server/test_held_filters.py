# SPDX-License-Identifier: Apache-2.0
"""Whether one of many filters covers another: as by comparing each, in a few steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.mqtt.topics import TopicFilter, covers
from keyfob.server.held_filters import MAX_STEPS, HeldFilters
from keyfob.server.oauth_errors import OAuthError

levels = st.lists(st.sampled_from(["a", "b", "", "+", "$S"]), min_size=1, max_size=4)
filters = st.builds(
    lambda fixed, end, group: f"{group}{'/'.join([*fixed, *end])}" if any(fixed) else f"{group}#",
    levels,
    st.sampled_from([[], ["#"]]),
    st.sampled_from(["", "", "$share/g/", "$share/h/"]),
).map(TopicFilter.parse)


@given(st.lists(st.tuples(st.sampled_from("ps"), filters), max_size=6), filters)
def test_the_tree_says_what_comparing_each_filter_says(
    held: list[tuple[str, TopicFilter]], wanted: TopicFilter
) -> None:
    tree = HeldFilters()
    for kind, one in held:
        tree.add(kind, one)
    for kind in "ps":
        assert tree.cover(kind, wanted) == any(
            covers(one, wanted) for known, one in held if known == kind
        )


def test_what_is_held_beside_costs_no_steps() -> None:
    tree = HeldFilters()
    for number in range(16 * 127):
        tree.add("p", TopicFilter.parse(f"site/line/{number}/#"))
    for number in range(127):
        assert tree.cover("p", TopicFilter.parse(f"site/line/{number}/t"))
        assert not tree.cover("p", TopicFilter.parse(f"site/line/x{number}/t"))
    assert tree.steps <= 127 * (3 + 2)


def test_filters_with_too_many_ways_through_them_are_not_followed_to_the_end() -> None:
    tree = HeldFilters()
    for number in range(1 << 11):
        tree.add("p", TopicFilter.parse("/".join("+a"[number >> bit & 1] for bit in range(11))))
    wanted = [TopicFilter.parse(f"{'a/' * 11}{number}") for number in range(127)]
    with pytest.raises(OAuthError) as refused:
        any(tree.cover("p", one) for one in wanted)
    assert (refused.value.error, refused.value.reason) == ("invalid_scope", "rights_tangled")
    assert tree.steps <= MAX_STEPS + (1 << 11)

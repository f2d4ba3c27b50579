# SPDX-License-Identifier: Apache-2.0
"""Small topic names and filters, so that they meet often."""

from __future__ import annotations

from hypothesis import assume
from hypothesis import strategies as st

from keyfob.mqtt.topics import TopicFilter, TopicName, covers, matches

_levels = st.sampled_from(["a", "b", "", "a.b", "$x", "t"])


def name_of(levels: list[str]) -> TopicName:
    return TopicName("/".join(levels) or "a")


names = st.lists(_levels, min_size=1, max_size=4).map(name_of)


@st.composite
def filter_texts(draw: st.DrawFn) -> str:
    levels = draw(st.lists(_levels | st.just("+"), min_size=1, max_size=3))
    return "/".join(draw(st.sampled_from([levels, [*levels, "#"], ["#"]]))) or "a"


filters = filter_texts().map(TopicFilter)


_meeting_levels = st.sampled_from(["a", "b", "", "a.b", "t", "x.b.c", "b.", "."])


@st.composite
def names_in(draw: st.DrawFn, topic_filter: TopicFilter) -> TopicName:
    """Give a name that the filter matches."""
    text = "/".join(draw(_levels_in(topic_filter, _meeting_levels)))
    assume(text)
    assert matches(topic_filter, TopicName(text))
    return TopicName(text)


@st.composite
def filters_in(draw: st.DrawFn, topic_filter: TopicFilter) -> TopicFilter:
    """Give a filter that the filter covers."""
    made = draw(_levels_in(topic_filter, _meeting_levels | st.just("+")))
    if topic_filter.levels[-1] == "#" and draw(st.booleans()):
        made.append("#")
    text = "/".join(made)
    assume(text)
    assert covers(topic_filter, TopicFilter(text))
    return TopicFilter(text)


@st.composite
def _levels_in(
    draw: st.DrawFn, topic_filter: TopicFilter, level: st.SearchStrategy[str]
) -> list[str]:
    """Give levels for those of the filter, with `level` where it has a wildcard."""
    first = level if topic_filter.levels[0] in ("+", "#") else st.just(topic_filter.levels[0])
    made = [draw(first)]
    made += [draw(level) if wanted == "+" else wanted for wanted in topic_filter.levels[1:]]
    if topic_filter.levels[-1] == "#":
        made = made[:-1] if len(made) > 1 else made
        made += draw(st.lists(level, max_size=3))
    return made

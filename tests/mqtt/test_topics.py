# SPDX-License-Identifier: Apache-2.0
"""Topic names and filters as values: what cannot be one, and what is kept of the text."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import TopicError
from keyfob.mqtt.topics import MAX_BYTES, TopicFilter, TopicName

KINDS = pytest.mark.parametrize("kind", [TopicName, TopicFilter])
TEXTS = st.text(st.sampled_from("a$/+#\0\ud800é "), max_size=8) | st.text(max_size=8)


@KINDS
@pytest.mark.parametrize("letter", ["a", "é", "日", "😀"])
def test_the_limit_counts_bytes_of_utf8(kind: type[TopicFilter | TopicName], letter: str) -> None:
    longest, left = divmod(MAX_BYTES, len(letter.encode()))
    text = letter * longest + "a" * left
    assert str(kind.parse(text)) == text
    with pytest.raises(TopicError, match="65536 bytes"):
        kind.parse(text + "a")


def test_the_limit_counts_the_share_prefix() -> None:
    inner = "a" * (MAX_BYTES - len("$share/g/"))
    assert TopicFilter.parse("$share/g/" + inner).value == inner
    with pytest.raises(TopicError, match="65536 bytes"):
        TopicFilter.parse("$share/g/a" + inner)


@KINDS
@pytest.mark.parametrize("text", ["\ud800", "a/\udfff", "\ud83d/\ude00"])
def test_a_lone_surrogate_is_refused(kind: type[TopicFilter | TopicName], text: str) -> None:
    with pytest.raises(TopicError, match="surrogate"):
        kind.parse(text)


@given(TEXTS)
def test_a_name_is_its_text(text: str) -> None:
    try:
        name = TopicName.parse(text)
    except TopicError:
        return
    assert str(name) == text
    assert "/".join(name.levels) == text
    assert not set(text) & set("+#\0")


@given(TEXTS | TEXTS.map("$share/".__add__) | TEXTS.map("$share/g/".__add__))
def test_a_filter_is_its_text(text: str) -> None:
    try:
        topic_filter = TopicFilter.parse(text)
    except TopicError:
        return
    assert str(topic_filter) == text
    assert "/".join(topic_filter.levels) == topic_filter.value
    assert (topic_filter.share_group is not None) is text.startswith("$share/")
    assert topic_filter.levels[0] != "$share"
    assert topic_filter == TopicFilter(topic_filter.value, topic_filter.share_group)


@given(TEXTS)
def test_every_name_is_a_filter_without_wildcard_unless_it_asks_for_a_share(text: str) -> None:
    try:
        name = TopicName.parse(text)
    except TopicError:
        return
    if name.levels[0] != "$share":
        assert not TopicFilter.parse(text).has_wildcard


def test_a_shared_filter_knows_its_group() -> None:
    shared = TopicFilter.parse("$share/g/a/#")
    assert (shared.share_group, shared.value, shared.levels) == ("g", "a/#", ("a", "#"))
    assert shared != TopicFilter.parse("a/#")
    assert shared != TopicFilter.parse("$share/h/a/#")


@pytest.mark.parametrize(
    ("value", "group"),
    [("", None), ("", "g"), ("a", ""), ("a", "g/h"), ("a", "+"), ("$share/h/a", "g"), ("a#", None)],
)
def test_the_constructor_makes_no_invalid_filter_either(value: str, group: str | None) -> None:
    with pytest.raises(TopicError):
        TopicFilter(value, group)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", False), ("a/b", False), ("+", True), ("#", True), ("a/#", True), ("a/+/b", True)],
)
def test_a_filter_knows_whether_it_has_a_wildcard(text: str, expected: bool) -> None:
    assert TopicFilter.parse(text).has_wildcard is expected


@pytest.mark.parametrize("value", [TopicName("a/b"), TopicFilter("a/#", "g")])
def test_values_are_frozen_hashable_and_can_be_copied(value: TopicName | TopicFilter) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        value.value = "c"  # type: ignore[misc]
    for twin in (copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert twin == value
        assert hash(twin) == hash(value)
        assert twin.levels == value.levels


def test_nothing_is_normalised() -> None:
    assert TopicName.parse("e\u0301") != TopicName.parse("\u00e9")
    assert TopicName.parse("\ufeffa").value == "\ufeffa"


def test_an_error_shows_a_hostile_text_escaped_and_short() -> None:
    with pytest.raises(TopicError) as caught:
        TopicName.parse("\n\x1b[2J\u202e" + "a" * 70_000)
    assert len(caught.value.message) < 200
    assert caught.value.message.isprintable()

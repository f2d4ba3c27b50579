# SPDX-License-Identifier: Apache-2.0
"""Templates: a value fills its place in a level and can do nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import TopicError
from keyfob.mqtt.topics import MAX_PLACEHOLDER_BYTES, TopicFilter, covers, expand, placeholders

TEMPLATES = ("{x}", "a/{x}", "{x}/#", "a/{x}/+", "p-{x}/b", "{x}-s/b", "$share/g/{x}/b", "{x}/{y}")
HOSTILE = st.text(st.sampled_from("a$/+#\0\ud800{}é"), max_size=6)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("devices/{device}/#", "devices/dev1/#"),
        ("{device}", "dev1"),
        ("{device}/+/{sub}", "dev1/+/user-7"),
        ("t/{claim:https://example.com/tenant}/x", "t/acme/x"),
        ("t/{claim:org.unit}/{device}{sub}", "t/u2/dev1user-7"),
        ("$share/{device}/a/{sub}", "$share/dev1/a/user-7"),
        ("$share/g/{device}/#", "$share/g/dev1/#"),
        ("$aws/things/{device}/shadow", "$aws/things/dev1/shadow"),
        ("a/{money}", "a/$5"),
        ("no/placeholder/+", "no/placeholder/+"),
    ],
)
def test_a_placeholder_is_replaced_by_its_value(template: str, expected: str) -> None:
    values = {
        "device": "dev1",
        "sub": "user-7",
        "money": "$5",
        "claim:https://example.com/tenant": "acme",
        "claim:org.unit": "u2",
    }
    assert expand(template, values) == TopicFilter.parse(expected)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize(
    "value",
    ["", "+", "#", "/", "a/b", "/a", "a/", "a+", "#a", "a\0", "\0", "\ud800", "a" * 256, "é" * 128],
)
def test_a_value_that_could_do_more_is_refused(template: str, value: str) -> None:
    with pytest.raises(TopicError) as caught:
        expand(template, {"x": value, "y": "y"})
    assert caught.value.code == "placeholder_refused"
    assert "{x}" in caught.value.message


def test_the_longest_value_is_taken() -> None:
    value = "a" * MAX_PLACEHOLDER_BYTES
    assert expand("p/{x}", {"x": value}).levels == ("p", value)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{x}", "$SYS"),
        ("{x}/#", "$SYS"),
        ("{x}/g/#", "$share"),
        ("p{x}/a", "$SYS"),
        ("$share/g/{x}/a", "$SYS"),
        ("$share/{y}/{x}", "$SYS"),
        ("$share/{y}/{x}", "$share"),
    ],
)
def test_no_value_opens_a_dollar_topic_or_a_share(template: str, value: str) -> None:
    with pytest.raises(TopicError) as caught:
        expand(template, {"x": value, "y": "$y"})
    assert caught.value.code == "placeholder_refused"
    assert "{x}" in caught.value.message


@pytest.mark.parametrize(
    ("template", "values"),
    [
        ("$shar{x}/g/a", {"x": "e"}),
        ("$s{x}/g/$SYS/#", {"x": "hare"}),
        ("${x}/g/a", {"x": "share"}),
        ("$share/g/$sha{x}/h/a", {"x": "re"}),
    ],
)
def test_no_value_completes_the_word_share(template: str, values: dict[str, str]) -> None:
    with pytest.raises(TopicError):
        expand(template, values)


@pytest.mark.parametrize(
    "template",
    ["{y}", "{X}", "{ x}", "{}", "{x}}", "{{x}", "{", "}", "a}b", "{x", "a{/}", "{{x}}", "a\0{x}"],
)
def test_an_unknown_placeholder_and_a_stray_brace_are_refused(template: str) -> None:
    with pytest.raises(TopicError) as caught:
        expand(template, {"x": "a"})
    assert caught.value.code == "placeholder_refused"


@pytest.mark.parametrize("template", ["", "a#", "{x}#", "+{x}", "#/{x}", "$share/{x}", "$share/g/"])
def test_what_is_no_filter_once_filled_is_refused(template: str) -> None:
    with pytest.raises(TopicError) as caught:
        expand(template, {"x": "a"})
    assert caught.value.code == "topic_invalid"


@given(st.sampled_from(TEMPLATES), HOSTILE, HOSTILE)
def test_a_filled_template_is_never_wider_than_with_a_plus(template: str, x: str, y: str) -> None:
    try:
        filled = expand(template, {"x": x, "y": y})
    except TopicError:
        return
    inner = template.removeprefix("$share/g/")
    levels = ["+" if "{" in level else level for level in inner.split("/")]
    widest = TopicFilter("/".join(levels), filled.share_group)
    assert covers(widest, filled)
    assert len(filled.levels) == len(widest.levels)
    assert (filled.share_group is not None) is template.startswith("$share/")


def test_placeholders_are_listed_in_order() -> None:
    assert placeholders("{a}/x/{claim:b/c}{a}") == ("a", "claim:b/c", "a")
    assert placeholders("a/+/#") == ()

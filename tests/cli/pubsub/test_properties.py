# SPDX-License-Identifier: Apache-2.0
"""-D: its words, and the properties that they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.cli.pubsub.properties import COMMANDS, read_properties
from keyfob.cli.pubsub.property_words import joined, words_of
from keyfob.errors import ConfigError

EVERY = tuple(COMMANDS)


def test_properties_go_into_the_packet_that_is_named() -> None:
    found = read_properties(
        [
            ["PUBLISH", "content-type", "text/plain"],
            ["publish", "user-property", "a", "b"],
            ["publish", "user-property", "a", "c"],
            ["publish", "correlation-data", "\udcff"],
            ["connect", "receive-maximum", "7"],
            ["will", "will-delay-interval", "0"],
        ],
        EVERY,
    )
    sent: dict[str, Any] = dict(found)  # paho's properties are not declared
    assert sent["publish"].ContentType == "text/plain"
    assert sent["publish"].UserProperty == [("a", "b"), ("a", "c")]
    assert sent["publish"].CorrelationData == b"\xff"
    assert sent["connect"].ReceiveMaximum == 7
    assert sent["will"].WillDelayInterval == 0
    assert set(found) == {"publish", "connect", "will"}
    assert all(one.pack() for one in found.values())  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    "words",
    [
        ["puback", "user-property", "a", "b"],
        ["publish", "nonsense", "a"],
        ["publish", "receive-maximum", "1"],
        ["connect", "receive-maximum", "0"],
        ["connect", "receive-maximum", "65536"],
        ["connect", "receive-maximum", "²"],
        ["publish", "payload-format-indicator", "2"],
        ["publish", "content-type", "a\0"],
        ["publish", "content-type", "\udcff"],
        ["publish", "content-type", "x" * 65536],
        ["publish", "correlation-data", "x" * 65536],
        ["connect", "authentication-data", "a token"],
        ["connect", "authentication-method", "OAUTH2-JWT"],
        ["connect", "topic-alias-maximum", "9"],
    ],
)
def test_what_is_no_property_is_a_clear_error(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="-D") as caught:
        read_properties([words], EVERY)
    assert "a token" not in caught.value.message


def test_a_property_that_there_is_once_is_not_taken_twice() -> None:
    once = ["publish", "content-type", "a"]
    with pytest.raises(ConfigError, match="twice"):
        read_properties([once, once], EVERY)


@given(st.lists(st.lists(st.text(max_size=5), min_size=3, max_size=3)))
def test_the_words_of_each_are_made_one_and_come_back(groups: list[list[str]]) -> None:
    typed = [word for group in groups for word in ("-D", *group)]
    if any(group[1] == "user-property" for group in groups):
        return
    made = joined(typed, set())
    assert [words_of(one) for one in made[1::2]] == groups
    assert made[::2] == ["-D"] * len(groups)


def test_words_that_only_look_like_it_stay() -> None:
    assert joined(["-m", "-D", "-t", "x"], {"-m", "-t"}) == ["-m", "-D", "-t", "x"]
    assert joined(["--", "-D"], set()) == ["--", "-D"]
    one = joined(["--property", "publish", "user-property", "a", "-D"], set())
    assert words_of(one[1]) == ["publish", "user-property", "a", "-D"]
    for short in (["-D"], ["-D", "publish", "x"], ["-D", "publish", "user-property", "a"]):
        with pytest.raises(ConfigError, match="-D takes"):
            joined(short, set())

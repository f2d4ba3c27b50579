# SPDX-License-Identifier: Apache-2.0
"""Format strings: what mosquitto_sub 2.0.11 printed for the same, and a clear error for the rest.

tests/system/test_pub_sub.py holds both programs to each other at a real broker.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.cli.pubsub.message import Message
from keyfob.cli.pubsub.message_format import When, parse_format, payload_only, verbose
from keyfob.errors import ConfigError

HELLO = Message(topic="tt", payload=b"hello", retain=True)
EMPTY = Message(topic="empty", payload=b"")
FULL = Message(
    topic="jj",
    payload=b"x",
    qos=1,
    identifier=7,
    properties=(
        ("UserProperty", ("k", "v")),
        ("UserProperty", ("k", "w")),
        ("ContentType", "text/é"),
        ("CorrelationData", b"a\0b"),
        ("ResponseTopic", "x"),
        ("PayloadFormatIndicator", 1),
        ("MessageExpiryInterval", 900),
        ("SubscriptionIdentifier", 3),
    ),
)
NOW = When(1_795_734_424_000_000_042)


@pytest.mark.parametrize(
    ("form", "message", "printed"),
    [
        (b"", HELLO, b""),
        (b"%010p", HELLO, b"00000hello"),
        (b"%-010p|", HELLO, b"hello     |"),
        (b"%.3p", HELLO, b"hello"),
        (b"%5.3p", HELLO, b"hello"),
        (b"%2p|%-2p|%06p|", HELLO, b"he|he|0hello|"),
        (b"%q %5q %r %5r", HELLO, b"0 0 1 1"),
        (b"%x %X", HELLO, b"68656c6c6f 68656C6C6F"),
        (b"%6x|%7x|%-7x|%07x|%4x", HELLO, b"  6865|   6865|6865   |0006865|6865"),
        (b"%5%", HELLO, b"%"),
        (b"%-5tE", HELLO, b"tt   E"),
        (b"%3.2t|%.0t|%-.1t|", HELLO, b" tt||t|"),
        (b"%08l|%-8l|%l", HELLO, b"00000005|5       |5"),
        (b"%8m", HELLO, b"       0"),
        (b"%5R|%5C|%05S|%-5E|%05C|%5D|%P", HELLO, b"|     |00000|     |     ||"),
        (b"%x|%4p|%-4x|", EMPTY, b"|    |    |"),
        (b"%P|%C|%D|%R|%F|%E|%S|%m|%q", FULL, "k:v k:w|text/é|a\0b|x|1|900|3|7|1".encode()),
        (b"%05E|%-5E|%5F", FULL, b"00900|900  |    1"),
        (b"a@@b", HELLO, b"a@b"),
        (b"\\\\ \\0\\a\\e\\n\\r\\t\\v", HELLO, b"\\ \0\a\033\n\r\t\v"),
        ("é%t".encode(), HELLO, "étt".encode()),
        (b"%U @N", HELLO, b"1795734424.000000042 000000042"),
    ],
)
def test_a_message_is_printed_as_mosquitto_sub_prints_it(
    form: bytes, message: Message, printed: bytes
) -> None:
    assert parse_format(form)(message, NOW) == printed


def test_times_are_those_of_the_clock_on_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    printed = parse_format(b"%I|@Y-@m-@d @H|%j")(EMPTY, NOW)
    assert printed.startswith(b"2026-11-26T23:07:04+0000|2026-11-26 23|")
    assert b'"tst":"2026-11-26T23:07:04.000000Z+0000"' in printed


@pytest.mark.parametrize(
    "form",
    [b"%y", b"%", b"%-", b"%5", b"@", b"\\q", b"\\", b"%10.", b"%0-5p", b"%9999999t", b"%\xc3"],
)
def test_what_means_nothing_is_an_error_before_anything_is_printed(form: bytes) -> None:
    with pytest.raises(ConfigError, match="-F"):
        parse_format(form)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_any_format_prints_any_message_or_is_a_clear_error(form: bytes, payload: bytes) -> None:
    try:
        ready = parse_format(form)
    except ConfigError:
        return
    try:
        ready(Message(topic="a/b", payload=payload), NOW)
    except ValueError:
        assert b"J" in form


@given(st.binary(max_size=40), st.integers(0, 30))
def test_a_payload_within_its_width_is_whole(payload: bytes, more: int) -> None:
    width = len(payload) + more
    form = b"%%%dp" % width if width else b"%p"
    assert parse_format(form)(Message(topic="t", payload=payload), NOW) == payload.rjust(width)


def test_without_a_format_it_is_the_payload_or_its_topic_before_it() -> None:
    assert payload_only(HELLO, NOW) == b"hello"
    assert payload_only(EMPTY, NOW) is None
    assert verbose(HELLO, NOW) == b"tt hello"
    assert verbose(EMPTY, NOW) == b"empty (null)"

# SPDX-License-Identifier: Apache-2.0
"""JSON as mosquitto_sub 2.0.11 prints it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.cli.pubsub.json_form import as_json, parse_json, printed
from keyfob.cli.pubsub.message import Message

PAYLOAD = (
    '{"a":1.0,"b":[1,2.5,1e30,1e-7,123456789012345678],"é":"\\u00e9\\u0007/x","a":null,'
    ' "t":true,"o":{},"l":[],"n":0.1,"m":-0.0, "big":1e400}'
).encode()
PLAIN = (
    '{"a":1,"b":[1,2.5,1e+30,1e-07,1.2345678901234568e+17],"é":"é\\u0007/x","a":null,'
    '"t":true,"o":{},"l":[],"n":0.1,"m":-0,"big":null}'
)
PRETTY = (
    '{\n\t"a":\t1,\n\t"b":\t[1, 2.5, 1e+30, 1e-07, 1.2345678901234568e+17],\n'
    '\t"é":\t"é\\u0007/x",\n\t"a":\tnull,\n\t"t":\ttrue,\n\t"o":\t{\n\t},\n\t"l":\t[],\n'
    '\t"n":\t0.1,\n\t"m":\t-0,\n\t"big":\tnull\n}'
)


def test_each_value_has_one_spelling() -> None:
    value = parse_json(PAYLOAD)
    assert printed(value) == PLAIN
    assert printed(value, pretty=True) == PRETTY


@pytest.mark.parametrize(
    ("number", "spelling"),
    [
        ("0.30000000000000004", "0.3"),
        ("0.1234567890123456789", "0.12345678901234568"),
        ("1e15", "1e+15"),
        ("123456789", "123456789"),
        ("1" * 5000, "null"),
    ],
)
def test_a_number_is_a_double_in_its_shorter_spelling(number: str, spelling: str) -> None:
    assert printed(parse_json(number.encode())) == spelling


@pytest.mark.parametrize(
    "data",
    [
        *(b"no", b"", b"[1]x", b"'a'", b"nul", b"[1,]", b"+1", b".5", b'"\\ud83d"', b"NaN"),
        *(b"Infinity", b"\xff", b"[" * 100_000, b'{"a"}'),
    ],
)
def test_what_is_no_json_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="it is no JSON"):
        parse_json(data)


TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | TEXT | st.integers(-(2**40), 2**40),
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_any_json_means_the_same_afterwards(value: object, pretty: bool) -> None:
    given_value = json.dumps(value)
    assert json.loads(printed(parse_json(given_value.encode()), pretty=pretty)) == value


@given(st.binary(min_size=1, max_size=60))
def test_a_payload_that_is_a_string_comes_back(payload: bytes) -> None:
    message = Message(topic="t", payload=payload)
    found = json.loads(as_json(message, "now", parsed=False, pretty=False))["payload"]
    assert (bytes(found) if isinstance(found, list) else found.encode()) == payload


def test_a_message_is_one_document_with_its_properties() -> None:
    message = Message(
        topic="a",
        payload=b"1",
        qos=1,
        identifier=3,
        properties=(
            ("SubscriptionIdentifier", 3),
            ("UserProperty", ("k", "v")),
            ("UserProperty", ("k", "w")),
            ("CorrelationData", b"ab"),
        ),
    )
    assert as_json(message, "now", parsed=True, pretty=False) == (
        '{"tst":"now","topic":"a","qos":1,"retain":0,"payloadlen":1,"mid":3,"properties":'
        '{"subscription-identifier":3,"user-properties":{"k":"v","k":"w"},'
        '"correlation-data":"ab"},"payload":1}'
    )
    empty = Message(topic="a", payload=b"")
    assert as_json(empty, "now", parsed=True, pretty=False) == (
        '{"tst":"now","topic":"a","qos":0,"retain":0,"payloadlen":0,"payload":null}'
    )

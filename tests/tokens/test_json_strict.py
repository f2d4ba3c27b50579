# SPDX-License-Identifier: Apache-2.0
"""JSON that can mean one thing only."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.tokens.json_strict import (
    _STRINGS,
    MAX_DEPTH,
    MAX_NUMBER_CHARS,
    DuplicateMemberError,
    JsonError,
    Repeated,
    loads,
)

_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def _nesting(value: object) -> int:
    inner = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    )
    return 0 if inner is None else 1 + max(map(_nesting, inner), default=0)


@given(_VALUES, st.booleans())
def test_whatever_the_standard_library_writes_is_read_back(value: Any, ascii_only: bool) -> None:
    try:
        text = json.dumps(value, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return
    if _nesting(value) <= MAX_DEPTH and "\\ud" not in text.decode():
        assert loads(text) == value


@given(
    st.binary(max_size=60) | st.text('{}[]",:\\ud80019.eE-+ \ttrue', max_size=40).map(str.encode)
)
def test_arbitrary_bytes_are_read_as_the_standard_library_does_or_refused(data: bytes) -> None:
    try:
        value = loads(data)
    except JsonError:
        return
    assert value == json.loads(data.decode("utf-8"))


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"b":2,"a":3}',
        b'{"x":{"a":1,"a":2}}',
        b'[[{"a":[{"b":1,"b":2}]}]]',
        b'{"a":1,"\\u0061":2}',
        b'{"":1,"":2}',
    ],
)
def test_a_member_that_stands_twice_is_refused_at_every_depth(text: bytes) -> None:
    with pytest.raises(DuplicateMemberError):
        loads(text)


def test_members_that_differ_in_case_or_by_object_are_different() -> None:
    assert loads(b'{"a":{"a":1},"A":[{"a":2},{"a":3}]}') == {
        "a": {"a": 1},
        "A": [{"a": 2}, {"a": 3}],
    }


def test_a_repeated_member_can_be_marked_instead_and_spoils_only_its_own_object() -> None:
    first, second = loads(b'[{"a":1,"a":2},{"a":"\\u00e9"}]', mark_repeated=True)
    assert isinstance(first, Repeated)
    assert second == {"a": "é"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b"{}x",
        b"{} {}",
        b"{'a':1}",
        b'{"a":1,}',
        b"[1,]",
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"0x10",
        b"1_000",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e400",
        b"-1e400",
        b'"\n"',
        b'"\\x41"',
        b'"\\u12"',
        b"// x\n1",
        "\N{ARABIC-INDIC DIGIT ONE}".encode(),
    ],
)
def test_what_rfc_8259_does_not_allow_is_refused(text: bytes) -> None:
    with pytest.raises(JsonError):
        loads(text)


@pytest.mark.parametrize(
    "text",
    [
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        '{"a":1}'.encode("utf-16-be"),
        '{"a":1}'.encode("utf-32"),
        b'"\xff"',
        b'"\xc0\x80"',
        b'"\xed\xa0\x80"',
    ],
    ids=["bom", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "ff", "overlong", "raw-surrogate"],
)
def test_every_encoding_but_plain_utf_8_is_refused(text: bytes) -> None:
    with pytest.raises(JsonError):
        loads(text)


@pytest.mark.parametrize(
    "text", [rb'"\ud800"', rb'"\uDC00\uD800"', rb'{"\udfff":1}', rb'["a\uD834b"]']
)
def test_a_lone_surrogate_is_refused_wherever_it_stands(text: bytes) -> None:
    with pytest.raises(JsonError, match="surrogate"):
        loads(text)


def test_escapes_that_are_no_lone_surrogates_are_read() -> None:
    assert loads(rb'["\ud83d\ude00", "\\ud800", "\u00e9"]') == ["😀", "\\ud800", "é"]


def test_nesting_is_bounded_and_brackets_inside_texts_do_not_nest() -> None:
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert loads(json.dumps(["[{" * 50, '"[{\\']).encode()) == ["[{" * 50, '"[{\\']
    assert loads(b"[" + b"{}," * 50 + b"{}]") == [{}] * 51
    with pytest.raises(JsonError, match="nested"):
        loads(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
    with pytest.raises(JsonError, match="nested"):
        loads(b'{"a":' * 100_000)
    with pytest.raises(JsonError):
        loads(b'["' + b"[" * 100_000)


@pytest.mark.parametrize("sign", [b"", b"-"])
def test_numbers_are_bounded_in_length(sign: bytes) -> None:
    longest = MAX_NUMBER_CHARS - len(sign)
    assert loads(sign + b"9" * longest) == int(sign + b"9" * longest)
    assert math.isclose(
        loads(sign + b"1." + b"3" * (longest - 2)), float(sign + b"1.3333333333333333")
    )
    for digits in (b"9" * (longest + 1), b"1." + b"0" * longest, b"1" * 1_000_000):
        with pytest.raises(JsonError, match="number"):
            loads(sign + digits)


def test_errors_do_not_repeat_the_input() -> None:
    with pytest.raises(JsonError) as caught:
        loads(b'{"hush-hush":1,"hush-hush":2}')
    assert "hush" not in str(caught.value)


def test_an_unterminated_string_is_looked_at_once() -> None:
    """Otherwise a text of escaped quotes would cost the square of its length (CWE-1333)."""
    text = "[" * 17 + '\\"' * 6000
    assert [match.end() - match.start() for match in _STRINGS.finditer(text)] == [len(text) - 18]

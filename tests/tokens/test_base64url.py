# SPDX-License-Identifier: Apache-2.0
"""One value, one spelling."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.tokens import base64url


@given(st.binary())
def test_decode_is_the_inverse_of_encode(data: bytes) -> None:
    assert base64url.decode(base64url.encode(data)) == data


@given(st.binary())
def test_encode_is_what_the_standard_library_says_without_padding(data: bytes) -> None:
    assert base64url.encode(data) == base64.urlsafe_b64encode(data).rstrip(b"=")


@given(st.binary(max_size=12) | st.text("AQg-_+/=\n", max_size=8).map(str.encode))
def test_whatever_decodes_is_the_one_spelling_of_its_value(text: bytes) -> None:
    try:
        value = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(value) == text


@pytest.mark.parametrize(
    "text",
    [b"AA==", b"AA=", b"A", b"AAAAA", b"AB", b"AAB", b"AA\n", b" AA", b"+A", b"/A", b"\xff\xff"],
)
def test_padding_whitespace_other_alphabets_and_set_trailing_bits_are_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="base64url"):
        base64url.decode(text)

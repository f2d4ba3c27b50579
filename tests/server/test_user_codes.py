# SPDX-License-Identifier: Apache-2.0
"""User codes: whatever way they are typed, they are the same one; nothing else is a code."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.server.user_codes import (
    ALPHABET,
    generate_user_code,
    read_user_code,
    shown_user_code,
    user_code_hash,
)

CODES = st.text(ALPHABET, min_size=8, max_size=8)
BETWEEN = st.text(
    st.sampled_from([" ", "-", "_", ".", "\t", "\u00a0", "\u2011", "\u2013", "\u200b", "'"]),
    max_size=3,
)


@given(CODES, st.lists(BETWEEN, min_size=9, max_size=9), st.lists(st.booleans(), min_size=8))
def test_case_blanks_and_dashes_mean_nothing(
    code: str, between: list[str], small: list[bool]
) -> None:
    letters = [
        letter.lower() if is_small else letter
        for letter, is_small in zip(code, small, strict=False)
    ]
    typed = between[8] + "".join(map(str.__add__, letters, between))
    assert read_user_code(typed) == code


@given(st.text(max_size=80))
def test_what_is_read_is_a_code_and_stays_one(typed: str) -> None:
    code = read_user_code(typed)
    if code is not None:
        assert len(code) == 8
        assert set(code) <= set(ALPHABET)
        assert read_user_code(code) == read_user_code(shown_user_code(code)) == code


@pytest.mark.parametrize(
    "typed",
    [
        *("", "BCDF", "BCDFGHJ", "BCDFGHJKL", "ABCDFGHJ", "BCDFGHJ1", "BCDF-GHJY", "BCDFGHJ0"),
        "\u0412CDFGHJK",  # a Cyrillic letter that looks like B
        "\uff22CDFGHJK",  # a full-width B
        "BCDFGHJ\u212a",  # the Kelvin sign, whose small letter is k
        "BCDFG\u00df\u00df",  # becomes SSSS in capitals
        "BCDF-GHJK" + " " * 60,
        "BCDF\x00GHJK\u0661",
    ],
)
def test_nothing_else_is_a_code(typed: str) -> None:
    assert read_user_code(typed) is None


def test_no_letter_is_taken_for_another_and_none_makes_a_word() -> None:
    assert len(set(ALPHABET)) == len(ALPHABET) == 20
    assert not set(ALPHABET) & set("AEIOUY0123456789")


def test_codes_are_made_of_the_whole_alphabet_and_differ() -> None:
    codes = {generate_user_code() for _ in range(500)}
    assert len(codes) == 500
    assert set("".join(codes)) == set(ALPHABET)
    assert all(read_user_code(code) == code for code in codes)


@given(CODES, CODES)
def test_hashes_are_equal_where_codes_are(one: str, other: str) -> None:
    assert (user_code_hash(one) == user_code_hash(other)) == (one == other)

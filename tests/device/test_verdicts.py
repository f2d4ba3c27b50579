# SPDX-License-Identifier: Apache-2.0
"""What a reason code says about a token, and that nothing else has a new one fetched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.device.verdicts import NEAR, Verdict, of_connack, of_ending

REFUSALS = {4, 5, 0x86, 0x87}


@given(st.integers(1, 255))
def test_only_a_refusal_of_the_token_has_a_new_one_fetched(code: int) -> None:
    assert (of_connack(code) is Verdict.REFUSED) == (code in REFUSALS)


@pytest.mark.parametrize("code", [3, 0x88, 0x89, 0x97, 0x9F])
def test_a_broker_that_is_unwell_is_not_the_tokens_fault(code: int) -> None:
    assert of_connack(code) is Verdict.UNAVAILABLE


@given(st.floats(-1e9, 1e9))
def test_a_close_without_a_word_says_nothing(remaining: float) -> None:
    assert of_ending(None, remaining) is Verdict.UNEXPLAINED


@pytest.mark.parametrize("code", [0x98, 0xA0, 0x87])
def test_an_ending_near_or_past_the_tokens_end_is_its_expiry(code: int) -> None:
    assert of_ending(code, NEAR) is Verdict.EXPIRED
    assert of_ending(code, -1e6) is Verdict.EXPIRED
    assert of_ending(code, NEAR + 1) is not Verdict.EXPIRED


def test_an_administrator_who_ends_a_connection_refuses_no_token() -> None:
    assert of_ending(0x98, 1000) is Verdict.UNEXPLAINED

# SPDX-License-Identifier: Apache-2.0
"""Which keys an issuer is known not to have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keyfob.guard.absent_keys import MAX_NAMES, AbsentKeys


def test_what_was_wanted_after_the_question_is_not_answered_by_it() -> None:
    absent = AbsentKeys()
    absent.want("early")
    absent.begin()
    absent.want("late")
    absent.answered((), ())
    assert "early" in absent
    assert "late" not in absent


def test_what_was_withdrawn_is_absent_and_what_came_back_is_not() -> None:
    absent = AbsentKeys()
    absent.begin()
    absent.answered(("a", "b"), ("b",))
    assert "a" in absent
    absent.begin()
    absent.answered(("b",), ("a", "b"))
    assert "a" not in absent


def test_a_question_that_failed_is_asked_again_with_the_next() -> None:
    absent = AbsentKeys()
    absent.want("x")
    absent.begin()  # and no answer
    absent.begin()
    absent.answered((), ())
    assert "x" in absent


@given(st.lists(st.text(max_size=8), max_size=50))
def test_no_key_that_is_there_is_ever_absent(names: list[str]) -> None:
    absent = AbsentKeys()
    for name in names:
        absent.want(name)
    absent.begin()
    present = names[::2]
    absent.answered(names[1::2], present)
    assert not any(name in absent for name in present)
    assert all(name in absent for name in names if name not in present)


def test_strangers_cannot_fill_the_memory() -> None:
    absent = AbsentKeys()
    for round_ in range(3):
        for number in range(2 * MAX_NAMES):
            absent.want(f"{round_}-{number}")
        absent.begin()
    absent.answered((), ())
    known = sum(f"{r}-{n}" in absent for r in range(3) for n in range(2 * MAX_NAMES))
    assert known <= MAX_NAMES

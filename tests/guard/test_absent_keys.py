# SPDX-License-Identifier: Apache-2.0
"""Which keys an issuer is known not to have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keyfob.guard.absent_keys import MAX_NAMES, AbsentKeys

NOW = 1000.0


def test_what_was_wanted_after_the_question_is_not_answered_by_it() -> None:
    absent = AbsentKeys()
    absent.want("early")
    absent.begin()
    absent.want("late")
    absent.answered((), (), NOW)
    assert absent.known("early", NOW)
    assert not absent.known("late", NOW)


def test_what_was_withdrawn_is_absent_and_what_came_back_is_not() -> None:
    absent = AbsentKeys()
    absent.begin()
    absent.answered(("a", "b"), ("b",), NOW)
    assert absent.known("a", NOW)
    absent.begin()
    absent.answered(("b",), ("a", "b"), NOW)
    assert not absent.known("a", NOW)


def test_a_question_that_failed_is_asked_again_with_the_next() -> None:
    absent = AbsentKeys()
    absent.want("x")
    absent.begin()  # and no answer
    absent.begin()
    absent.answered((), (), NOW)
    assert absent.known("x", NOW)


@given(st.lists(st.text(max_size=8), max_size=50))
def test_no_key_that_is_there_is_ever_absent(names: list[str]) -> None:
    absent = AbsentKeys()
    for name in names:
        absent.want(name)
    absent.begin()
    present = names[::2]
    absent.answered(names[1::2], present, NOW)
    assert not any(absent.known(name, NOW) for name in present)
    assert all(absent.known(name, NOW) for name in names if name not in present)


def test_an_answer_counts_from_when_it_was_given() -> None:
    absent = AbsentKeys()
    absent.want("x")
    absent.begin()
    absent.answered((), (), NOW)
    assert absent.known("x", NOW - 30)
    assert not absent.known("x", NOW + 1)
    absent.want("x")
    absent.begin()
    absent.answered((), (), NOW + 60)
    assert absent.known("x", NOW + 31)


def test_strangers_cannot_fill_the_memory() -> None:
    absent = AbsentKeys()
    for round_ in range(3):
        for number in range(2 * MAX_NAMES):
            absent.want(f"{round_}-{number}")
        absent.begin()
    absent.answered((), (), NOW)
    known = sum(absent.known(f"{r}-{n}", NOW) for r in range(3) for n in range(2 * MAX_NAMES))
    assert known <= MAX_NAMES

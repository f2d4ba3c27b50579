# SPDX-License-Identifier: Apache-2.0
"""However it is drawn on, an allowance never gives more than its start and its rate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keyfob.http.allowance import Allowance


def test_it_gives_its_most_at_once_and_then_its_rate() -> None:
    tested = Allowance(rate=2.0, most=3)
    assert [tested.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert not tested.take(10.25)
    assert tested.take(10.5)
    assert not tested.take(10.5)
    assert [tested.take(1000.0) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_steps_back_gives_nothing() -> None:
    tested = Allowance(rate=1.0, most=1)
    assert tested.take(100.0)
    assert not any(tested.take(now) for now in (50.0, 50.5, 0.0))
    assert tested.take(1.0)


@given(
    pauses=st.lists(st.floats(0.0, 3.0), max_size=200),
    rate=st.floats(0.1, 50.0),
    most=st.floats(1.0, 20.0),
)
def test_it_never_gives_more(pauses: list[float], rate: float, most: float) -> None:
    tested, now, given_out = Allowance(rate=rate, most=most), 0.0, 0
    for pause in pauses:
        now += pause
        given_out += tested.take(now)
    assert given_out <= most + now * rate + 1e-6


@given(rate=st.floats(0.1, 50.0), most=st.floats(1.0, 20.0))
def test_it_gives_again_after_a_while(rate: float, most: float) -> None:
    tested = Allowance(rate=rate, most=most)
    while tested.take(0.0):
        pass
    assert tested.take(1.001 / rate)


@given(rate=st.floats(0.1, 50.0), most=st.floats(1.0, 20.0), pauses=st.lists(st.floats(0.0, 1.0)))
def test_whoever_waits_as_long_as_told_gets_one(
    rate: float, most: float, pauses: list[float]
) -> None:
    tested, now = Allowance(rate=rate, most=most), 0.0
    for pause in pauses:
        now += pause
        tested.take(now)
    assert tested.take(now + tested.wait(now) + 1e-6)


def test_what_is_given_back_can_be_taken_again_and_is_never_more_than_there_was() -> None:
    tested = Allowance(rate=0.0, most=2)
    tested.give_back()
    assert [tested.take(0.0) for _ in range(3)] == [True, True, False]
    tested.give_back()
    assert [tested.take(0.0) for _ in range(2)] == [True, False]
    assert tested.wait(0.0) == float("inf")

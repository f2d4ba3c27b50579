# SPDX-License-Identifier: Apache-2.0
"""The age of a token, on clocks that step, sleep and boot."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.device.clock import STEP, age, stepped, system_clock
from tests.device.world import SetClock

seconds = st.floats(0, 1e7)
steps = st.floats(-1e8, 1e8)


@given(passed=seconds, step=steps)
def test_no_step_of_the_wall_clock_changes_an_age(passed: float, step: float) -> None:
    clock = SetClock()
    then = clock()
    clock.pass_by(passed)
    clock.step(step)
    assert math.isclose(age(then, clock()), passed, rel_tol=1e-9, abs_tol=1e-3)


@given(passed=seconds, step=steps)
def test_a_step_is_noticed_and_nothing_else_is(passed: float, step: float) -> None:
    clock = SetClock()
    then = clock()
    clock.pass_by(passed)
    assert not stepped(then, clock())
    clock.step(step)
    if not math.isclose(abs(step), STEP, rel_tol=1e-3):
        assert stepped(then, clock()) == (abs(step) > STEP)


@given(passed=seconds, slept=seconds)
def test_where_the_clock_sleeps_too_the_wall_clock_tells_for_how_long(
    passed: float, slept: float
) -> None:
    clock = SetClock(sleepless=False)
    then = clock()
    clock.pass_by(passed)
    clock.step(slept)
    assert math.isclose(age(then, clock()), passed + slept, rel_tol=1e-6, abs_tol=1e-3)


@given(passed=seconds, step=steps)
def test_where_the_clock_sleeps_too_an_age_is_never_less_than_what_surely_passed(
    passed: float, step: float
) -> None:
    clock = SetClock(sleepless=False)
    then = clock()
    clock.pass_by(passed)
    clock.step(step)
    assert age(then, clock()) >= passed - 1e-3


@given(wall=st.integers(-(10**8), 10**8), elapsed=st.floats(0, 1e7))
def test_after_a_boot_the_wall_clock_counts_and_one_that_went_back_makes_it_unknown(
    wall: int, elapsed: float
) -> None:
    clock = SetClock()
    then = clock()
    clock.boot, clock.elapsed = "another-boot", elapsed
    clock.step(wall)
    found = age(then, clock())
    assert found == math.inf if wall < 0 else math.isclose(found, wall, abs_tol=1e-3)
    assert not stepped(then, clock())


def test_a_clock_that_runs_backwards_within_a_boot_is_not_believed() -> None:
    clock = SetClock()
    then = clock()
    clock.elapsed -= 5
    clock.step(7)
    assert age(then, clock()) == 7


def test_the_clock_of_this_machine_goes_on_and_is_the_same_for_all() -> None:
    one, other = system_clock(), system_clock()
    then, now = one(), other()
    assert then.boot == now.boot
    assert now.sleepless
    assert 0 <= age(then, now) < math.inf


def test_where_the_boot_is_not_known_no_process_believes_the_ticks_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("keyfob.device.clock._boot_id", lambda: "")
    one, other = system_clock()(), system_clock()()
    assert one.boot
    assert one.boot != other.boot
    assert not one.sleepless
    assert age(one, dataclasses.replace(other, wall=one.wall + 3, elapsed=0.0)) == 3

# SPDX-License-Identifier: Apache-2.0
"""Deadlines and the circuit breaker: what time does to them."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.brokers.mosquitto.plugin.runner import Runner

bounded = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

LEAST, MOST = -(2**63), 2**63 - 1
PAUSE = 500  # BREAKER_PAUSE_MS


@bounded
@given(
    expires_at=st.integers(LEAST, MOST),
    boottime=st.integers(0, 2**50),
    wall=st.integers(0, 2**50),
)
def test_a_deadline_is_as_far_away_as_the_end_of_the_token(
    runner: Runner, expires_at: int, boottime: int, wall: int
) -> None:
    """And an end at either end of time is no reason to wrap around."""
    exact = boottime + expires_at - wall
    in_range = LEAST <= expires_at - wall <= MOST and LEAST <= exact <= MOST
    expected = exact if in_range else LEAST if expires_at < wall else MOST
    assert int(runner.ask("deadline", expires_at, boottime, wall)) == expected


SPAN = st.integers(-(2**40), 2**40)  # milliseconds; more than thirty years either way


@bounded
@given(left=SPAN, wall_left=SPAN)
def test_an_end_on_either_clock_that_is_near_or_past_is_never_called_far(
    runner: Runner, left: int, wall_left: int
) -> None:
    """The coarse clocks are late, so they may not decide about an end that is near."""
    far = runner.says("far", left, wall_left)
    if min(left, wall_left) <= 500:  # half of FAR_MS: twelve times a tick of the slowest kernel
        assert not far
    if min(left, wall_left) > 60_000:
        assert far


def test_after_a_timeout_nobody_asks_until_the_pause_is_over(runner: Runner) -> None:
    runner.ask("breaker-new")
    assert runner.says("breaker-allows", 1000)
    assert not runner.says("breaker-timed-out", 1000)
    assert not runner.says("breaker-allows", 1000)
    assert not runner.says("breaker-allows", 1000 + PAUSE - 1)
    assert runner.says("breaker-allows", 1000 + PAUSE)


def test_a_second_timeout_in_silence_ends_the_link(runner: Runner) -> None:
    runner.ask("breaker-new")
    runner.ask("breaker-timed-out", 0)
    assert runner.says("breaker-timed-out", PAUSE)


def test_a_guard_that_is_slow_but_talks_keeps_its_link(runner: Runner) -> None:
    runner.ask("breaker-new")
    for now in range(0, 10 * PAUSE, PAUSE):
        assert not runner.says("breaker-timed-out", now)
        runner.ask("breaker-heard")

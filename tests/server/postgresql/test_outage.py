# SPDX-License-Identifier: Apache-2.0
"""Waiting is bounded: from the first failure on, for all together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keyfob.server.stores.postgresql.outage import PATIENCE, PAUSE, Outage


class Ticks:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_while_the_outage_is_young_everybody_may_wait() -> None:
    ticks = Ticks()
    outage = Outage(ticks)
    assert outage.may_try()
    assert outage.failed("refused")
    ticks.now += PATIENCE / 2
    assert outage.may_try()
    assert outage.failed("refused")
    assert outage.why == "refused"


def test_when_it_is_old_one_try_is_made_in_each_pause() -> None:
    ticks = Ticks()
    outage = Outage(ticks)
    outage.failed("refused")
    ticks.now += PATIENCE + PAUSE
    assert [outage.may_try() for _ in range(5)] == [True] + [False] * 4
    assert not outage.failed("refused again")
    ticks.now += PAUSE
    assert [outage.may_try() for _ in range(5)] == [True] + [False] * 4


def test_when_it_is_over_the_next_one_begins_anew() -> None:
    ticks = Ticks()
    outage = Outage(ticks)
    outage.failed("refused")
    ticks.now += 10 * PATIENCE
    outage.over()
    assert outage.may_try()
    assert outage.failed("refused")


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=100))
def test_nobody_is_told_to_wait_for_longer_than_the_patience(steps: list[float]) -> None:
    ticks = Ticks()
    outage = Outage(ticks)
    outage.failed("refused")
    began = ticks.now
    for step in steps:
        ticks.now += step
        waits = outage.failed("refused")
        assert waits == (ticks.now - began < PATIENCE)

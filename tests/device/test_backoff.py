# SPDX-License-Identifier: Apache-2.0
"""How long a client waits before its next CONNECT."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keyfob.device.backoff import LASTED, Backoff


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.floats(0, 1), st.integers(1, 100))
def test_waits_are_drawn_from_zero_to_a_ceiling_that_doubles(chance: float, times: int) -> None:
    backoff = Backoff(lambda: chance, Time())
    waits = [backoff.next(1.0, 120.0) for _ in range(times)]
    assert waits == [min(120.0, 2.0 ** min(n, 32)) * chance for n in range(times)]


def test_a_connack_alone_does_not_let_the_ceiling_fall_back() -> None:
    time = Time()
    backoff = Backoff(lambda: 1.0, time)
    backoff.next(1.0, 120.0)
    backoff.connected()
    time.now += LASTED - 0.1
    assert backoff.next(1.0, 120.0) == 2.0
    backoff.connected()
    time.now += LASTED
    assert backoff.next(1.0, 120.0) == 1.0


def test_a_planned_reconnect_does_not_begin_the_time_anew() -> None:
    time = Time()
    backoff = Backoff(lambda: 1.0, time)
    backoff.next(1.0, 120.0)
    for _ in range(3):
        backoff.connected()
        time.now += LASTED / 2
    assert backoff.next(1.0, 120.0) == 1.0


def test_an_expected_end_does_not_count() -> None:
    backoff = Backoff(lambda: 1.0, Time())
    assert [backoff.soon(1.0), backoff.soon(1.0), backoff.next(1.0, 9.0)] == [1.0, 1.0, 1.0]

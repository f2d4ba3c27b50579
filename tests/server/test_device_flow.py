# SPDX-License-Identifier: Apache-2.0
"""What a poll means: a state machine without clock and store."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.server.device_flow import (
    INTERVAL,
    MAX_INTERVAL,
    DeviceRequest,
    Poll,
    State,
    judge,
    slower,
)

REQUEST = DeviceRequest(
    code_hash=b"c",
    user_hash=b"u",
    client_id="setup",
    peer="192.0.2.1",
    network="192.0.2.1",
    scope=None,
    hint="",
    created_at=1000.0,
    expires_at=1600.0,
)
MOMENTS = st.floats(900, 1700)


def judged(
    request: DeviceRequest | None,
    *,
    client_id: str = "setup",
    now: float = 1010.0,
    last: float | None = None,
    interval: int = INTERVAL,
) -> Poll:
    return judge(request, client_id=client_id, now=now, last_poll=last, interval=interval)


@pytest.mark.parametrize(
    ("state", "now", "poll"),
    [
        (State.PENDING, 1010.0, Poll.PENDING),
        (State.PENDING, 1599.9, Poll.PENDING),
        (State.PENDING, 1600.0, Poll.EXPIRED),
        (State.APPROVED, 1599.9, Poll.APPROVED),
        (State.APPROVED, 1600.0, Poll.EXPIRED),
        (State.DENIED, 1010.0, Poll.DENIED),
        (State.DENIED, 1600.0, Poll.EXPIRED),
        (State.USED, 1010.0, Poll.USED),
        (State.USED, 1700.0, Poll.USED),
    ],
)
def test_a_poll_means_what_has_become_of_the_request(state: State, now: float, poll: Poll) -> None:
    request = replace(REQUEST, state=state)
    assert judged(request, now=now) is poll
    assert judged(request, now=now, client_id="other") is Poll.FOREIGN


def test_an_unknown_code_is_nothing_else() -> None:
    assert judged(None) is Poll.UNKNOWN


@given(st.sampled_from(State), MOMENTS, st.none() | MOMENTS, st.integers(5, 60))
def test_only_an_approved_request_that_is_not_over_gives_a_token(
    state: State, now: float, last: float | None, interval: int
) -> None:
    found = judged(replace(REQUEST, state=state), now=now, last=last, interval=interval)
    assert (found is Poll.APPROVED) == (state is State.APPROVED and now < 1600.0)


@given(st.floats(0, 100), st.integers(5, 60))
def test_whoever_waits_for_the_interval_is_never_too_fast(passed: float, interval: int) -> None:
    found = judged(REQUEST, now=1000.0 + passed, last=1000.0, interval=interval)
    if passed >= interval:
        assert found is Poll.PENDING
    if passed < interval - 1.01:
        assert found is Poll.TOO_FAST


@given(st.floats(-100, -0.1))
def test_a_clock_that_was_set_back_is_nobodys_haste(passed: float) -> None:
    assert judged(REQUEST, now=1200.0 + passed, last=1200.0) is Poll.PENDING


def test_each_time_it_is_five_seconds_more_up_to_a_bound() -> None:
    intervals = [INTERVAL]
    while intervals[-1] != slower(intervals[-1]):
        intervals.append(slower(intervals[-1]))
    assert intervals == list(range(INTERVAL, MAX_INTERVAL + 1, 5))

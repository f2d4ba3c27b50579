# SPDX-License-Identifier: Apache-2.0
"""A breaker opens after failures in a row, lets one through after a pause, and always recovers."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from keyfob.guard.backoff import Backoff
from keyfob.guard.breaker import Breaker, BreakerState, Permit

LIMIT, PATIENCE, BASE, CAP = 3, 4.0, 1.0, 8.0


def breaker() -> Breaker:
    backoff = Backoff(base=BASE, cap=CAP, jitter=lambda ceiling: ceiling)
    return Breaker(patience=PATIENCE, failures=LIMIT, backoff=backoff)


def entered(tested: Breaker, now: float) -> Permit:
    permit = tested.enter(now)
    assert permit is not None
    return permit


def opened(now: float = 0.0) -> Breaker:
    tested = breaker()
    for _ in range(LIMIT):
        tested.failed(entered(tested, now), now)
    assert tested.state(now) is BreakerState.OPEN
    return tested


def test_failures_in_a_row_open_it_and_others_do_not() -> None:
    tested = breaker()
    for _ in range(10):
        for _ in range(LIMIT - 1):
            tested.failed(entered(tested, 0.0), 0.0)
        tested.succeeded()
    assert tested.state(0.0) is BreakerState.CLOSED


def test_open_lets_nobody_through_and_half_open_one() -> None:
    tested = opened()
    assert tested.enter(BASE - 0.01) is None
    assert tested.state(BASE) is BreakerState.HALF_OPEN
    assert tested.enter(BASE) is not None
    assert tested.enter(BASE) is None
    assert tested.state(BASE) is BreakerState.HALF_OPEN


def test_a_success_closes_it_at_once() -> None:
    tested = opened()
    entered(tested, BASE)
    tested.succeeded()
    assert tested.state(BASE) is BreakerState.CLOSED
    assert all(tested.enter(BASE) is not None for _ in range(10))


def test_each_failure_of_the_one_lengthens_the_pause_up_to_a_cap() -> None:
    tested, now = opened(), 0.0
    pauses = []
    for _ in range(6):
        pause = next(step / 10 for step in range(1000) if tested.allows(now + step / 10))
        pauses.append(pause)
        now += pause
        tested.failed(entered(tested, now), now)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_those_that_fail_after_it_opened_do_not_lengthen_the_pause() -> None:
    tested = breaker()
    permits = [entered(tested, 0.0) for _ in range(50)]
    for permit in permits:
        tested.failed(permit, 0.0)
    assert tested.allows(BASE)


def test_a_failure_from_before_does_not_count_against_the_one_that_tries() -> None:
    tested = breaker()
    late = entered(tested, 0.0)
    for _ in range(LIMIT):
        tested.failed(entered(tested, 0.0), 0.0)
    entered(tested, BASE)
    tested.failed(late, BASE)
    assert tested.state(BASE) is BreakerState.HALF_OPEN
    tested.succeeded()
    tested.failed(late, BASE)
    assert tested.state(BASE) is BreakerState.CLOSED


def test_an_answer_that_decides_nothing_lets_the_next_one_try() -> None:
    tested = opened()
    first = entered(tested, BASE)
    assert tested.enter(BASE) is None
    tested.undecided(first, BASE + 0.1)
    assert tested.state(BASE + 0.1) is BreakerState.HALF_OPEN
    second = entered(tested, BASE + 0.1)
    tested.undecided(first, BASE + 0.2)  # says nothing about the one that tries now
    assert tested.enter(BASE + 0.2) is None
    tested.failed(second, BASE + 0.3)
    assert tested.state(BASE + 0.3) is BreakerState.OPEN


def test_one_that_never_comes_back_keeps_the_others_out_only_so_long() -> None:
    tested = opened()
    entered(tested, BASE)
    assert tested.enter(BASE + PATIENCE - 0.01) is None
    assert tested.enter(BASE + PATIENCE) is not None


class Model(RuleBasedStateMachine):
    """Many ask, answers come late or never, and time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.tested = breaker()
        self.now = 0.0
        self.out: list[Permit] = []
        self.in_a_row = 0
        self.last_change = 0.0

    @rule(seconds=st.floats(0.0, 2 * CAP))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        allowed, before = self.tested.allows(self.now), self.tested.state(self.now)
        permit = self.tested.enter(self.now)
        assert (permit is not None) is allowed
        if permit is None:
            return
        self.out.append(permit)
        self.last_change = self.now
        if before is not BreakerState.CLOSED:
            assert self.tested.enter(self.now) is None

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        self.out.remove(data.draw(st.sampled_from(self.out)))
        self.tested.succeeded()
        assert self.tested.state(self.now) is BreakerState.CLOSED

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        permit = data.draw(st.sampled_from(self.out))
        self.out.remove(permit)
        self.tested.failed(permit, self.now)
        self.last_change = self.now

    @precondition(lambda self: self.out)
    @rule()
    def lose_all(self) -> None:
        self.out.clear()

    @invariant()
    def it_lets_somebody_through_in_the_end(self) -> None:
        assert self.tested.allows(self.last_change + max(CAP, PATIENCE))

    @invariant()
    def open_is_when_nobody_may_ask(self) -> None:
        if self.tested.state(self.now) is BreakerState.OPEN:
            assert not self.tested.allows(self.now)
        if self.tested.state(self.now) is BreakerState.CLOSED:
            assert self.tested.allows(self.now)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=100, stateful_step_count=40)

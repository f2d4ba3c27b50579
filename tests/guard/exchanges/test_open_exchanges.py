# SPDX-License-Identifier: Apache-2.0
"""Authentications in progress, which are bounded whatever clients do."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import TokenError
from keyfob.guard.exchanges.exchange import Challenge, Exchange, ExchangeContext, Presented
from keyfob.guard.exchanges.open_exchanges import LONGEST, MAX_STEPS, OpenExchanges
from tests.guard.world import Clock

CONTEXT = ExchangeContext(
    client_id="dev1", broker="b", server_nonce=b"n" * 32, now=0.0, reauthenticating=False
)


class Patient:
    """Asks until it hears "token"; "bad" it does not take."""

    def begin(self, context: ExchangeContext) -> Exchange:
        assert context is CONTEXT
        return self

    def step(self, data: bytes) -> Challenge | Presented:
        if data == b"bad":
            raise TokenError("bad", code="token_malformed")
        return Presented(data) if data == b"token" else Challenge(b"more")


def opened(clock: Clock, size: int = 10, epochs: Iterable[int] = ()) -> OpenExchanges[str]:
    exchanges: OpenExchanges[str] = OpenExchanges({"m": Patient()}, monotonic=clock, size=size)
    for epoch in epochs:
        assert exchanges.begin(epoch, "m", b"", CONTEXT, f"case {epoch}") == Challenge(b"more")
    return exchanges


def test_what_was_begun_goes_on_where_it_stood() -> None:
    exchanges = opened(Clock(), epochs=[1, 2])
    assert exchanges.proceed(2, b"x") == ("case 2", Challenge(b"more"))
    assert exchanges.proceed(2, b"token") == ("case 2", Presented(b"token"))
    assert exchanges.proceed(2, b"token") is None
    assert exchanges.proceed(1, b"token") == ("case 1", Presented(b"token"))
    assert len(exchanges) == 0


def test_nothing_is_kept_of_what_is_over_at_once() -> None:
    exchanges = opened(Clock())
    assert exchanges.begin(1, "m", b"token", CONTEXT, "") == Presented(b"token")
    with pytest.raises(TokenError):
        exchanges.begin(2, "m", b"bad", CONTEXT, "")
    assert len(exchanges) == 0


def test_an_error_ends_it() -> None:
    exchanges = opened(Clock(), epochs=[1])
    found = exchanges.proceed(1, b"bad")
    assert found is not None
    assert isinstance(found[1], TokenError)
    assert exchanges.proceed(1, b"token") is None


def test_one_that_never_ends_is_ended() -> None:
    exchanges = opened(Clock(), epochs=[1])
    answers = []
    while (found := exchanges.proceed(1, b"")) is not None:
        answers.append(found[1])
    assert len(answers) == MAX_STEPS - 1
    assert isinstance(answers[-1], TokenError)


def test_an_answer_that_comes_too_late_is_none() -> None:
    clock = Clock()
    exchanges = opened(clock, epochs=[1])
    clock.now += LONGEST / 2
    assert exchanges.proceed(1, b"x") is not None
    clock.now += LONGEST / 2
    assert exchanges.proceed(1, b"token") is None


def test_being_asked_once_more_gives_no_more_time() -> None:
    """Others that were begun later do not hide that its time is over."""
    clock = Clock()
    exchanges = opened(clock, epochs=[1])
    clock.now += LONGEST / 2
    exchanges.begin(2, "m", b"", CONTEXT, "case 2")
    assert exchanges.proceed(1, b"x") == ("case 1", Challenge(b"more"))
    clock.now += LONGEST / 2
    assert exchanges.proceed(1, b"token") is None
    assert exchanges.proceed(2, b"token") == ("case 2", Presented(b"token"))


def test_who_began_first_gives_way_also_if_it_was_asked_once_more() -> None:
    exchanges = opened(Clock(), size=2, epochs=[1, 2])
    assert exchanges.proceed(1, b"x") == ("case 1", Challenge(b"more"))
    exchanges.begin(3, "m", b"", CONTEXT, "case 3")
    assert exchanges.proceed(1, b"token") is None
    assert exchanges.proceed(2, b"token") == ("case 2", Presented(b"token"))
    assert exchanges.proceed(3, b"token") == ("case 3", Presented(b"token"))


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from(["begin", "proceed", "proceed", "wait"])),
        min_size=20,
        max_size=60,
    )
)
def test_each_has_its_own_time_from_its_beginning_whatever_others_do(
    steps: list[tuple[int, str]],
) -> None:
    clock = Clock()
    exchanges = opened(clock)
    begun: dict[int, float] = {}
    asked: dict[int, int] = {}
    for epoch, step in steps:
        match step:
            case "begin":
                exchanges.begin(epoch, "m", b"", CONTEXT, f"case {epoch}")
                begun[epoch], asked[epoch] = clock.now, 1
            case "proceed":
                asked[epoch] = asked.get(epoch, 0) + 1
                there = epoch in begun and clock.now < begun[epoch] + LONGEST
                found = exchanges.proceed(epoch, b"x")
                assert (found is not None) == there
                if not there or asked[epoch] >= MAX_STEPS:
                    begun.pop(epoch, None)
            case _:
                clock.now += LONGEST / 2


def test_beginning_anew_takes_the_place_of_what_was() -> None:
    exchanges = opened(Clock(), epochs=[1, 1, 1])
    assert len(exchanges) == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["begin", "proceed", "forget", "wait"])),
        max_size=60,
    )
)
def test_there_are_never_more_than_there_may_be(steps: list[tuple[int, str]]) -> None:
    clock = Clock()
    exchanges = opened(clock, size=4)
    for epoch, step in steps:
        match step:
            case "begin":
                exchanges.begin(epoch, "m", b"", CONTEXT, "")
            case "proceed":
                exchanges.proceed(epoch, b"x")
            case "forget":
                exchanges.forget(epoch)
                assert exchanges.proceed(epoch, b"token") is None
            case _:
                clock.now += LONGEST / 3
        assert len(exchanges) <= 4

# SPDX-License-Identifier: Apache-2.0
"""Figures: parts add up to the whole, and quantiles are those of the times."""

from __future__ import annotations

import functools
import operator
import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.simulation.figures import Figures, Ledger, Time, What, quantile

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(What), st.sampled_from(["", "200", "0x87"])),
        st.tuples(st.sampled_from(Time), st.floats(0, 100)),
        st.tuples(st.none(), st.integers(0, 600)),
    ),
    max_size=40,
)


def entered(events: list[tuple[object, object]]) -> Figures:
    ledger = Ledger()
    for what, value in events:
        if isinstance(what, What):
            ledger.count(what, str(value))
        elif isinstance(what, Time):
            assert isinstance(value, float)
            ledger.took(what, value)
        else:
            assert isinstance(value, int)
            ledger.asked(value)
    return ledger.figures(connected=len(events), on_the_way=1, cpu=0.5)


@given(parts=st.lists(EVENTS, min_size=1, max_size=4))
def test_the_figures_of_processes_add_up_to_those_of_one(
    parts: list[list[tuple[object, object]]],
) -> None:
    # As they come: through a pipe.
    through = [pickle.loads(pickle.dumps(entered(part))) for part in parts]
    added = functools.reduce(operator.add, through)
    whole = entered([event for part in parts for event in part])
    assert (added.counts, added.requests, added.times) == (
        whole.counts,
        whole.requests,
        whole.times,
    )
    assert added.connected == whole.connected
    assert len(added.cpu) == len(parts)
    assert all(added.total(what) == sum(added.of(what).values()) for what in What)


def test_what_was_copied_does_not_change_any_more() -> None:
    ledger = Ledger()
    before = ledger.figures(connected=0, on_the_way=0, cpu=0.0)
    ledger.count(What.SENT)
    ledger.asked(1)
    ledger.took(Time.TOKEN, 1.0)
    assert before.total(What.SENT) == 0
    assert not before.requests
    assert not before.times[Time.TOKEN]


@given(times=st.lists(st.floats(0.001, 1_000), min_size=1, max_size=60), share=st.floats(0.01, 1))
def test_a_quantile_is_exact_within_five_percent(times: list[float], share: float) -> None:
    ledger = Ledger()
    for each in times:
        ledger.took(Time.MESSAGE, each)
    found = quantile(ledger.figures(connected=0, on_the_way=0, cpu=0).times[Time.MESSAGE], share)
    assert found is not None
    kept = sum(each <= found * 1.0001 for each in times)
    assert kept >= share * len(times) - 1e-6
    assert sum(each <= found / 1.051 for each in times) < share * len(times)


def test_of_nothing_there_is_no_quantile() -> None:
    assert quantile(Counter(), 0.5) is None


def test_the_most_frequent_code_comes_first() -> None:
    ledger = Ledger()
    ledger.count(What.ANSWER, "503")
    ledger.count(What.ANSWER, "200", 5)
    figures = ledger.figures(connected=0, on_the_way=0, cpu=0.0)
    assert list(figures.of(What.ANSWER).items()) == [("200", 5), ("503", 1)]
    with pytest.raises(KeyError):
        figures.of(What.ANSWER)["404"]

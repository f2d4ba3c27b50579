# SPDX-License-Identifier: Apache-2.0
"""Every observation is in one bucket and in the sum."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.guard.histogram import DECISION_BUCKETS, Histogram


def test_the_bounds_of_decisions_rise_from_50_us_to_5_s() -> None:
    assert DECISION_BUCKETS[0] == pytest.approx(50e-6)
    assert DECISION_BUCKETS[-1] == 5
    assert list(DECISION_BUCKETS) == sorted(set(DECISION_BUCKETS))


def test_a_bound_belongs_to_its_own_bucket() -> None:
    histogram = Histogram((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 2.0, 2.5):
        histogram.observe(seconds)
    assert histogram.cumulative == (2, 4, 5)
    assert histogram.sum == pytest.approx(7.5)


@given(st.lists(st.floats(0, 100)))
def test_each_bucket_holds_what_is_at_most_its_bound(seconds: list[float]) -> None:
    histogram = Histogram()
    for each in seconds:
        histogram.observe(each)
    bounds = (*histogram.bounds, math.inf)
    assert histogram.cumulative == tuple(sum(each <= bound for each in seconds) for bound in bounds)
    assert histogram.sum == pytest.approx(sum(seconds))

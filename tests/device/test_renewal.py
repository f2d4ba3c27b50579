# SPDX-License-Identifier: Apache-2.0
"""When a token is renewed: within its life, and spread."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from keyfob.device.renewal import (
    Freshness,
    freshness,
    leeway_of,
    margin_of,
    renewal_age,
)

lifetimes = st.floats(1, 1e8)
chances = st.floats(0, 1)
leeways = st.none() | st.floats(0, 1e9)


@given(lifetimes, chances, st.booleans(), leeways)
def test_a_renewal_comes_after_the_start_and_leaves_the_leeway(
    lifetime: float, chance: float, first: bool, leeway: float | None
) -> None:
    at = renewal_age(lifetime, chance, first=first, leeway=leeway)
    kept = leeway_of(lifetime) if leeway is None else min(leeway, lifetime / 2)
    assert 0 < at <= lifetime - kept + 1e-6
    assert kept <= lifetime / 2


@given(lifetimes, chances, st.floats(0, 1), st.booleans())
def test_a_token_that_was_kept_is_renewed_neither_before_now_nor_after_its_latest(
    lifetime: float, chance: float, share: float, first: bool
) -> None:
    latest = lifetime - leeway_of(lifetime)
    at = renewal_age(lifetime, chance, first=first, since=share * lifetime)
    assert min(share * lifetime, latest) - 1e-6 <= at <= latest + 1e-6


@given(lifetimes, leeways)
def test_a_later_renewal_is_in_the_last_quarter_and_the_first_over_nearly_all(
    lifetime: float, leeway: float | None
) -> None:
    def at(chance: float, first: bool) -> float:
        return renewal_age(lifetime, chance, first=first, leeway=leeway)

    latest = at(1.0, False)
    assert math.isclose(at(1.0, True), latest)
    assert abs(at(0.0, False) - 0.75 * latest) < 1e-6 * lifetime
    assert abs(at(0.0, True) - 0.05 * latest) < 1e-6 * lifetime


@given(lifetimes, st.lists(st.floats(0, 1.5), min_size=2), chances)
def test_a_token_only_ever_gets_older(lifetime: float, ages: list[float], chance: float) -> None:
    order = [Freshness.FRESH, Freshness.STALE, Freshness.EXPIRED]
    renewal = renewal_age(lifetime, chance, first=False)
    found = [order.index(freshness(share * lifetime, lifetime, renewal)) for share in sorted(ages)]
    assert found == sorted(found)


@given(lifetimes, chances, st.booleans())
def test_there_is_time_between_the_renewal_and_the_end(
    lifetime: float, chance: float, first: bool
) -> None:
    renewal = renewal_age(lifetime, chance, first=first)
    assert freshness(renewal, lifetime, renewal) is Freshness.STALE
    end = lifetime - margin_of(lifetime)
    assert freshness(end, lifetime, renewal) is Freshness.EXPIRED
    assert end < lifetime
    assert end - renewal >= 0.05 * min(lifetime, 3000)

# SPDX-License-Identifier: Apache-2.0
"""How far a clock is off, told from answers' dates: never more certain than the answers are."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.cli.doctor.clock_checks import (
    LEEWAY,
    SLIGHT,
    WIDTH,
    Sample,
    check_clock,
    sample_of,
    skew_of,
)
from keyfob.findings import Severity

NOW = 1_800_000_000.0
seconds = st.floats(min_value=0.0, max_value=30.0)


def dated(server: float, *, sent: float, received: float) -> Sample:
    """What an answer says that the server dated by its own clock."""
    sample = sample_of({"date": formatdate(server, usegmt=True)}, sent, received)
    assert sample is not None
    return sample


@settings(max_examples=50, deadline=None)
@given(
    st.floats(min_value=-1e5, max_value=1e5),
    st.lists(st.tuples(seconds, seconds, st.floats(min_value=0, max_value=0.99)), min_size=1),
)
def test_the_true_skew_is_within_what_is_told_whatever_the_round_trips_are(
    ahead: float, trips: list[tuple[float, float, float]]
) -> None:
    samples = []
    for index, (there, back, stale) in enumerate(trips):
        sent = NOW + 100 * index
        server = sent + there + ahead
        # Servers write the line anew once a second: it is up to that much older.
        samples.append(dated(server - stale, sent=sent, received=sent + there + back))
    skew = skew_of(samples)
    assert skew is not None
    assert skew.least - 1e-3 <= ahead <= skew.most + 1e-3
    assert skew.certain <= abs(ahead) + 1e-3
    assert abs(skew.middle - ahead) <= skew.uncertainty + 1e-3


def test_several_answers_say_it_more_narrowly_than_one() -> None:
    one = dated(NOW + 0.9, sent=NOW, received=NOW + 0.95)
    two = dated(NOW + 1.1, sent=NOW + 1.05, received=NOW + 1.15)
    alone, both = skew_of([one]), skew_of([one, two])
    assert alone is not None
    assert both is not None
    assert both.uncertainty < alone.uncertainty
    assert alone.uncertainty == pytest.approx((WIDTH + 0.95) / 2)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"date": "yesterday"},
        {"date": "Thu, 99 Nov 2026 00:00:00 GMT"},
        {"date": formatdate(NOW, usegmt=True), "age": "7"},  # out of a cache
    ],
)
def test_an_answer_without_a_date_of_its_own_says_nothing(headers: dict[str, str]) -> None:
    assert sample_of(headers, NOW, NOW) is None


def test_answers_that_contradict_each_other_say_that_it_is_not_known() -> None:
    contradicting = [Sample(least=0, most=1), Sample(least=5, most=6)]
    assert skew_of(contradicting) is None
    (finding,) = check_clock(contradicting).findings
    assert (finding.code, finding.severity) == ("clock_unknown", Severity.NOTE)
    assert "contradict" in finding.what


@pytest.mark.parametrize(
    ("ahead", "code", "way"),
    [
        (0.0, None, "agrees"),
        (SLIGHT - 1, None, "behind"),
        (30.0, "clock_drifts", "behind"),
        (LEEWAY + 5, "clock_off", "behind"),
        (-3600.0, "clock_off", "ahead"),
    ],
)
def test_a_clock_is_judged_by_what_is_certain(ahead: float, code: str | None, way: str) -> None:
    section = check_clock([dated(NOW + ahead, sent=NOW, received=NOW + 0.1)])
    assert [finding.code for finding in section.findings] == ([code] if code else [])
    assert way in str(section.facts["clock"])
    assert all(way in finding.what for finding in section.findings)


def test_what_is_within_the_uncertainty_is_no_fault() -> None:
    slow = dated(NOW + LEEWAY + 10, sent=NOW, received=NOW + LEEWAY + 20)
    assert check_clock([slow]).findings == ()

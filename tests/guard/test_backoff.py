# SPDX-License-Identifier: Apache-2.0
"""Delays grow to a ceiling, and lie anywhere below it."""

from __future__ import annotations

from keyfob.guard.backoff import Backoff


def test_the_ceiling_doubles_up_to_the_cap_and_begins_anew() -> None:
    backoff = Backoff(base=1.0, cap=10.0, jitter=lambda ceiling: ceiling)
    assert [backoff.next() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    backoff.reset()
    assert backoff.next() == 1.0


def test_thousands_of_failures_do_not_overflow() -> None:
    backoff = Backoff(base=1.0, cap=10.0, jitter=lambda ceiling: ceiling)
    assert [backoff.next() for _ in range(5000)][-1] == 10.0


def test_full_jitter_spreads_over_the_whole_interval() -> None:
    backoff = Backoff(base=64.0, cap=64.0)
    delays = [backoff.next() for _ in range(500)]
    assert all(0.0 <= delay <= 64.0 for delay in delays)
    assert min(delays) < 16.0
    assert max(delays) > 48.0

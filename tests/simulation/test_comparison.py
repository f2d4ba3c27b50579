# SPDX-License-Identifier: Apache-2.0
"""A fleet that keeps to the schedule agrees with it; one that does not, does not."""

from __future__ import annotations

import pytest

from keyfob.device.fleet_load import Fleet, requests_of
from keyfob.simulation.comparison import SHARE, compare

DEVICES, LIFETIME, BOOT, SECONDS = 400, 60, 30, 300


@pytest.mark.parametrize("seed", [1_000, 1_001, 1_002])
def test_one_more_fleet_of_the_same_schedule_agrees(seed: int) -> None:
    fleet = Fleet(devices=DEVICES, lifetime=LIFETIME, seconds=SECONDS, boot=BOOT, seed=seed)
    compared = compare(
        requests_of(fleet, 0), devices=DEVICES, lifetime=LIFETIME, boot=BOOT, aside=BOOT
    )
    assert compared.interval == LIFETIME // SHARE
    assert compared.intervals == (SECONDS - BOOT) // compared.interval
    assert compared.inside >= 0.75 * compared.intervals
    assert len(compared.measured) == len(compared.expected) == SECONDS // LIFETIME
    for one, two in zip(compared.measured, compared.expected, strict=True):
        assert one.begins == two.begins
        assert 0.8 < one.mean / two.mean < 1.25


def test_a_fleet_that_renews_together_or_too_often_does_not() -> None:
    together = [0] * SECONDS
    for second in range(0, SECONDS, LIFETIME):
        together[second] = DEVICES
    fleet = Fleet(devices=2 * DEVICES, lifetime=LIFETIME, seconds=SECONDS, boot=BOOT)
    for counts in (together, requests_of(fleet, 0)):
        compared = compare(counts, devices=DEVICES, lifetime=LIFETIME, boot=BOOT, aside=BOOT)
        assert compared.inside < 0.3 * compared.intervals


@pytest.mark.parametrize("seconds", [0, 1, 30, 31])
def test_a_run_that_ended_with_its_boot_compares_nothing(seconds: int) -> None:
    compared = compare([1] * seconds, devices=3, lifetime=60.0, boot=30.0, aside=30)
    assert compared.intervals == 0
    assert len(compared.curve) == seconds

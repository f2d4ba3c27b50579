# SPDX-License-Identifier: Apache-2.0
"""The load of a fleet: by the schedule itself, in parts that sum up, and as even as promised."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.device import fleet_load
from keyfob.device.fleet_load import PART, Fleet, Trouble, by_lifetime, requests_of
from keyfob.device.renewal import FIRST_EARLIEST, LATER_EARLIEST, leeway_of, renewal_age

HOUR = 3600


def total(fleet: Fleet) -> list[int]:
    parts = [requests_of(fleet, part) for part in range(fleet.parts)]
    return [sum(second) for second in zip(*parts, strict=True)]


@settings(max_examples=30, deadline=None)
@given(
    devices=st.integers(1, 300),
    lifetime=st.integers(240, 10_000),
    boot=st.integers(0, 60),
    seed=st.integers(0, 2**32),
)
def test_every_device_boots_and_renews_where_the_schedule_says(
    devices: int, lifetime: int, boot: int, seed: int
) -> None:
    counts = total(
        Fleet(devices=devices, lifetime=lifetime, seconds=2 * lifetime, boot=boot, seed=seed)
    )
    latest = lifetime - leeway_of(lifetime)
    earliest = FIRST_EARLIEST * latest
    if earliest > boot:
        assert sum(counts[: boot + 1]) >= devices
        assert sum(counts[boot + 1 : int(earliest)]) == 0
    assert sum(counts[: int(boot + latest) + 1]) >= 2 * devices
    # No device asks more often than the schedule's shortest way.
    most = 2 + (2 * lifetime - earliest) // (LATER_EARLIEST * latest)
    assert sum(counts) <= devices * most


def test_parts_have_random_numbers_of_their_own_and_the_last_is_what_is_left() -> None:
    fleet = Fleet(devices=2 * PART + 7, lifetime=HOUR, seconds=1000)
    first, second, last = (requests_of(fleet, part) for part in range(fleet.parts))
    assert (first[0], second[0], last[0]) == (PART, PART, 7)
    assert first != second
    assert first == requests_of(fleet, 0)


def ratios(devices: int) -> list[float]:
    counts = total(Fleet(devices=devices, lifetime=HOUR, seconds=3 * HOUR))
    return [load.ratio for load in by_lifetime(counts, HOUR, interval=60, aside=60)]


def test_a_fleet_that_boots_together_does_not_renew_together() -> None:
    first, *later = ratios(150_000)
    assert first <= 1.8
    assert max(later) <= 1.3


def test_without_the_spread_of_the_first_renewal_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    def unspread(lifetime: float, chance: float, **_: Any) -> float:
        return renewal_age(lifetime, chance, first=False)

    monkeypatch.setattr(fleet_load, "renewal_age", unspread)
    first, *later = ratios(20_000)
    assert first > 1.8
    assert max(later) > 1.3


POWER = Trouble(what="power", begins=HOUR, ends=3 * HOUR)
SERVER = Trouble(what="server", begins=HOUR, ends=3 * HOUR)
CLOCK = Trouble(what="clock", begins=3 * HOUR)
RECOVERY = {"power": 60, "server": 300, "clock": 60}
"""Seconds in which all of them ask at once: a boot, the longest wait of a backoff, a boot's."""


def ratios_after(trouble: Trouble, devices: int) -> list[float]:
    """Boot over an hour, so that nothing but the trouble has them together."""
    fleet = Fleet(devices=devices, lifetime=HOUR, seconds=6 * HOUR, boot=HOUR, trouble=trouble)
    counts = total(fleet)[3 * HOUR :]
    aside = RECOVERY[trouble.what]
    return [load.ratio for load in by_lifetime(counts, HOUR, interval=60, aside=aside)]


@pytest.mark.parametrize("trouble", [POWER, SERVER, CLOCK], ids=lambda trouble: trouble.what)
def test_a_fleet_that_something_met_at_once_does_not_renew_together(trouble: Trouble) -> None:
    first, *later = ratios_after(trouble, 100_000)
    assert first <= 1.8
    assert max(later) <= 1.3


@pytest.mark.parametrize("trouble", [POWER, SERVER, CLOCK], ids=lambda trouble: trouble.what)
def test_without_a_second_spread_it_would(
    trouble: Trouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whatever(age: float, *_: object, **__: object) -> bool:
        return age < math.inf  # only a device's very first token is a first one

    monkeypatch.setattr(fleet_load, "on_schedule", whatever)
    first, *later = ratios_after(trouble, 20_000)
    assert first > 1.8
    assert max(later) > 1.3


def test_devices_without_power_ask_nothing_and_those_without_a_server_less_and_less() -> None:
    off, away = (
        total(Fleet(devices=500, lifetime=HOUR, seconds=3 * HOUR + 1, boot=60, trouble=each))
        for each in (POWER, SERVER)
    )
    assert sum(off[HOUR : 3 * HOUR]) == 0
    assert off[3 * HOUR] == 500
    # Half a ceiling of 300 seconds on average, and a few sooner ones to begin with.
    asked = sum(away[2 * HOUR : 3 * HOUR])
    assert 500 * HOUR / 300 < asked < 500 * HOUR / 100


def test_a_lifetime_is_told_by_its_mean_and_its_fullest_interval() -> None:
    counts = [900, 0, 2, 4, 1, 1, 1, 5]
    first, second = by_lifetime(counts, 4, interval=2, aside=2)
    assert (first.begins, first.mean, first.peak, first.ratio) == (0, 3.0, 3.0, 1.0)
    assert (second.begins, second.mean, second.peak, second.ratio) == (4, 2.0, 3.0, 1.5)
    assert by_lifetime([0, 0], 2)[0].ratio == 0

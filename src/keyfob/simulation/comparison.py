# SPDX-License-Identifier: Apache-2.0
"""A measured load curve beside the schedule's: do the devices do what they were designed to do?

A fleet of a thousand is uneven by chance, so one simulated fleet is no measure. Some are drawn,
each with random numbers of its own; a measured interval agrees where it lies between the lowest
and the highest of them. Of a curve that is one more draw of the same kind, nine in ten do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from keyfob.device.fleet_load import Fleet, LifetimeLoad, by_lifetime, requests_of

__all__ = ["Comparison", "compare"]

DRAWS: Final = 20
"""Fleets that are drawn: one more would lie outside in 2 of 21 intervals."""

SHARE: Final = 12
"""Into how many intervals a lifetime is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Measured and expected.

    Attributes:
        interval: Seconds over which a peak is taken, and curves are compared.
        measured: Lifetime by lifetime, from the boot on.
        expected: The same of the schedule alone, each number the mean of what was drawn.
        curve: The schedule's requests in each second, the mean of what was drawn.
        intervals: How many were compared.
        inside: In how many of them the measured fleet lies between the lowest and the highest.
    """

    interval: int
    measured: tuple[LifetimeLoad, ...]
    expected: tuple[LifetimeLoad, ...]
    curve: tuple[float, ...]
    intervals: int
    inside: int


def compare(
    counts: Sequence[int], *, devices: int, lifetime: float, boot: float, aside: int
) -> Comparison:
    """Draw fleets, and lay what was measured beside them.

    Args:
        counts: Token requests that were measured, second by second from the first boot on.
        devices: How many there were.
        lifetime: Seconds that their tokens lived.
        boot: Seconds within which they booted.
        aside: Seconds at the beginning that do not count: nobody can spread a boot.
    """
    interval, whole = max(round(lifetime / SHARE), 1), max(int(lifetime), 1)
    seconds = len(counts)
    drawn = [_drawn(devices, lifetime, seconds, boot, seed) for seed in range(DRAWS)]
    loads = [by_lifetime(each, whole, interval=interval, aside=aside) for each in drawn]
    low_high = [
        (min(sums), max(sums))
        for sums in zip(*(_sums(each[aside:], interval) for each in drawn), strict=True)
    ]
    measured = _sums(counts[aside:], interval)
    inside = [low <= found <= high for found, (low, high) in zip(measured, low_high, strict=True)]
    return Comparison(
        interval=interval,
        measured=by_lifetime(counts, whole, interval=interval, aside=aside),
        expected=tuple(_mean_load(each) for each in zip(*loads, strict=True)),
        curve=tuple(sum(each) / DRAWS for each in zip(*drawn, strict=True)),
        intervals=len(inside),
        inside=sum(inside),
    )


def _drawn(devices: int, lifetime: float, seconds: int, boot: float, seed: int) -> list[int]:
    fleet = Fleet(devices=devices, lifetime=lifetime, seconds=seconds, boot=boot, seed=seed)
    parts = [requests_of(fleet, part) for part in range(fleet.parts)]
    return [sum(each) for each in zip(*parts, strict=True)]


def _sums(counts: Sequence[int], interval: int) -> list[int]:
    whole = len(counts) - len(counts) % interval
    return [sum(counts[at : at + interval]) for at in range(0, whole, interval)]


def _mean_load(loads: tuple[LifetimeLoad, ...]) -> LifetimeLoad:
    return LifetimeLoad(
        begins=loads[0].begins,
        mean=sum(load.mean for load in loads) / len(loads),
        peak=sum(load.peak for load in loads) / len(loads),
    )

# SPDX-License-Identifier: Apache-2.0
"""``keyfob simulate``: what a fleet asks of its server by the schedule alone; nothing is sent."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from array import array
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from keyfob.cli.load_plot import columns_of, svg, text_plot
from keyfob.cli.output import answer, table
from keyfob.cli.selecting import progress_bar, seconds_of
from keyfob.device.fleet_load import PART, Fleet, LifetimeLoad, by_lifetime, requests_of
from keyfob.errors import ConfigError

__all__ = ["FIRST_LIMIT", "LATER_LIMIT", "Wish", "show_schedule"]

FIRST_LIMIT: Final = 1.8
"""What the peak may be in the first lifetime, in means."""

LATER_LIMIT: Final = 1.3
"""The same from the second on."""

ASIDE: Final = 60
"""Seconds in which a fleet boots: nobody can spread its first requests."""

_MOST_DEVICES: Final = 100_000_000
_LONGEST: Final = 31 * 86_400
_SVG_COLUMNS: Final = 880


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was typed.

    Attributes:
        devices: How many.
        lifetime: How long a token lives.
        lifetimes: For how many of these.
        boot: Within which time all boot.
        interval: Over which time a peak is taken.
        seed: Other random numbers.
        picture: Where the curve is drawn; None: nowhere.
        processes: How many count; 0: one a core.
    """

    devices: int
    lifetime: str
    lifetimes: int
    boot: str
    interval: str
    seed: int
    picture: Path | None
    processes: int


def show_schedule(wish: Wish, *, as_json: bool) -> None:
    """Count what the schedule alone makes of a fleet, and tell it.

    Raises:
        ConfigError: A number is out of its bounds.
    """
    fleet = _fleet(
        wish.devices,
        seconds_of(wish.lifetime),
        wish.lifetimes,
        seconds_of(wish.boot),
        wish.seed,
    )
    every = seconds_of(wish.interval)
    if not 1 <= every <= fleet.lifetime / 10:
        raise ConfigError("--interval is from one second to a tenth of the lifetime")
    counts = _counted(fleet, wish.processes)
    loads = by_lifetime(counts, int(fleet.lifetime), interval=every, aside=ASIDE)
    if wish.picture is not None:
        wish.picture.write_text(_picture(fleet, counts, loads, every), encoding="utf-8")
    answer(_data(fleet, counts, loads), _text(fleet, counts, loads, every), as_json=as_json)


def _fleet(devices: int, lifetime: int, lifetimes: int, boot: int, seed: int) -> Fleet:
    if devices > _MOST_DEVICES:
        raise ConfigError(f"--devices is at most {_MOST_DEVICES:,}")
    if lifetime < 4 * ASIDE or lifetime * lifetimes > _LONGEST:
        raise ConfigError("--lifetime is at least 4m, and with --lifetimes no more than 31d")
    if boot > ASIDE:
        raise ConfigError("--boot is at most 1m: it is the minute that is left out")
    return Fleet(
        devices=devices, lifetime=lifetime, seconds=lifetime * lifetimes, boot=boot, seed=seed
    )


def _counted(fleet: Fleet, processes: int) -> array[int]:
    """Count a fleet in parts; the sum is the same in however many processes."""
    total = array("Q", bytes(8 * fleet.seconds))
    workers = min(processes or os.cpu_count() or 1, fleet.parts)
    context = multiprocessing.get_context("spawn")
    with (
        progress_bar(total=fleet.devices, what="devices") as shown,
        ProcessPoolExecutor(workers, mp_context=context) as pool,
    ):
        counted = pool.map(partial(requests_of, fleet), range(fleet.parts))
        for done, counts in enumerate(counted, start=1):
            for second, count in enumerate(counts):
                total[second] += count
            shown(min(done * PART, fleet.devices))
    return total


def _limit(number: int) -> float:
    return LATER_LIMIT if number else FIRST_LIMIT


def _data(fleet: Fleet, counts: array[int], loads: tuple[LifetimeLoad, ...]) -> dict[str, object]:
    return {
        "devices": fleet.devices,
        "lifetime": fleet.lifetime,
        "first_minute": sum(counts[:ASIDE]),
        "requests": sum(counts),
        "lifetimes": [
            {
                "begins": load.begins,
                "mean": round(load.mean, 3),
                "peak": round(load.peak, 3),
                "ratio": round(load.ratio, 3),
                "limit": _limit(number),
            }
            for number, load in enumerate(loads)
        ],
        "kept": all(load.ratio <= _limit(number) for number, load in enumerate(loads)),
    }


def _text(fleet: Fleet, counts: array[int], loads: tuple[LifetimeLoad, ...], interval: int) -> str:
    width = max(min(shutil.get_terminal_size().columns - 16, 120), 20)
    rows = [
        (
            str(number + 1),
            f"{load.mean:,.1f}",
            f"{load.peak:,.1f}",
            f"{load.ratio:.2f}",
            f"{_limit(number):.2f}",
        )
        for number, load in enumerate(loads)
    ]
    asked = f"{sum(counts[:ASIDE]):,} requests of {fleet.devices:,} devices in the first minute"
    head = f"{asked}; after it, a second:"
    plot = text_plot(columns_of(counts, width, interval=interval, aside=ASIDE))
    return f"{head}\n\n{plot}\n\n{table(('LIFETIME', 'MEAN', 'PEAK', 'RATIO', 'LIMIT'), rows)}"


def _picture(
    fleet: Fleet, counts: array[int], loads: tuple[LifetimeLoad, ...], interval: int
) -> str:
    return svg(
        columns_of(counts, _SVG_COLUMNS, interval=interval, aside=ASIDE),
        [load.mean for load in loads],
        [load.mean * _limit(number) for number, load in enumerate(loads)],
        f"{fleet.devices:,} devices that boot together, tokens of {fleet.lifetime:g} s",
    )

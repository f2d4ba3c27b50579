# SPDX-License-Identifier: Apache-2.0
"""What a fleet that boots together asks of its authorization server, by the schedule alone.

Every device draws when it renews by the function that ``TokenSource`` draws by (``renewal``), and
is followed from its boot on; what it asks is counted in the second in which it asks. Devices do
not know of each other, so they are counted one after the other, in parts that make a fleet of any
size a sum: no memory but one number for each second.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from keyfob.device.renewal import renewal_age

__all__ = ["PART", "Fleet", "LifetimeLoad", "by_lifetime", "requests_of"]

PART: Final = 50_000
"""Devices that are counted at once; each part has random numbers of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A fleet, and for how long it is watched.

    Attributes:
        devices: How many.
        lifetime: Seconds that a token lives.
        seconds: For how long it is watched.
        boot: Seconds within which all of them boot; 0: at the same moment.
        seed: Other random numbers.
    """

    devices: int
    lifetime: float
    seconds: int
    boot: float = 0.0
    seed: int = 0

    @property
    def parts(self) -> int:
        """In how many parts it is counted."""
        return -(-self.devices // PART)


def requests_of(fleet: Fleet, part: int) -> array[int]:
    """Count what one part of a fleet asks in each second.

    Args:
        fleet: The fleet.
        part: Which of its parts, from 0.

    Returns:
        Token requests, one number for each second from the first boot on.
    """
    # No secret is drawn here, and whoever repeats it shall see the same.
    chance = random.Random(f"{fleet.seed} {part}").random  # noqa: S311
    counts = array("Q", bytes(8 * fleet.seconds))
    lifetime, end, boot = fleet.lifetime, fleet.seconds, fleet.boot
    for _ in range(min(PART, fleet.devices - part * PART)):
        now = boot * chance() if boot else 0.0
        first = True
        while now < end:
            counts[int(now)] += 1
            # The next token's age is counted from this request.
            now += renewal_age(lifetime, chance(), first=first)
            first = False
    return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class LifetimeLoad:
    """Requests per second in one lifetime of the tokens.

    Attributes:
        begins: Second at which it begins, from the first boot on.
        mean: Over all its seconds.
        peak: In the fullest of its intervals.
    """

    begins: int
    mean: float
    peak: float

    @property
    def ratio(self) -> float:
        """The peak, in means; 0: nobody asked."""
        return self.peak / self.mean if self.mean else 0.0


def by_lifetime(
    counts: Sequence[int], lifetime: int, *, interval: int = 1, aside: int = 0
) -> tuple[LifetimeLoad, ...]:
    """Sum up what a server meets, lifetime by lifetime.

    Args:
        counts: Requests in each second.
        lifetime: Seconds that a token lives.
        interval: Seconds over which the peak is taken.
        aside: Seconds at the beginning that do not count: nobody can spread a boot.
    """
    return tuple(_loads(counts, lifetime, interval, aside))


def _loads(
    counts: Sequence[int], lifetime: int, interval: int, aside: int
) -> Iterator[LifetimeLoad]:
    for begins in range(0, len(counts), lifetime):
        part = counts[max(begins, aside) : begins + lifetime]
        whole = len(part) - len(part) % interval
        sums = [sum(part[at : at + interval]) for at in range(0, whole, interval)]
        if sums:
            peak = max(sums) / interval
            yield LifetimeLoad(begins=begins, mean=sum(part) / len(part), peak=peak)

# SPDX-License-Identifier: Apache-2.0
"""What a fleet that boots together asks of its authorization server, by the schedule alone.

Every device draws when it renews by the functions that ``TokenSource`` draws by (``renewal``,
``retrying``), and is followed from its boot on, through what may meet all of them at once; what it
asks is counted in the second in which it asks. Devices do not know of each other, so they are
counted one after the other, in parts that make a fleet of any size a sum: no memory but one number
for each second.
"""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from keyfob.device.renewal import on_schedule, renewal_age
from keyfob.device.retrying import wait_after
from keyfob.errors import TokenUnavailableError

__all__ = ["PART", "Fleet", "LifetimeLoad", "Trouble", "by_lifetime", "requests_of"]

PART: Final = 50_000
"""Devices that are counted at once; each part has random numbers of its own."""

_AWAY: Final = TokenUnavailableError("the authorization server is away")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What meets a whole fleet at once.

    Attributes:
        what: ``power``: the devices are off, and find their tokens kept; ``server``: nobody
            answers them; ``clock``: theirs are set, and each sees that within a second.
        begins: Seconds from the first boot on.
        ends: When it is over; a clock is set in no time.
    """

    what: Literal["power", "server", "clock"]
    begins: float
    ends: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A fleet, and for how long it is watched.

    Attributes:
        devices: How many.
        lifetime: Seconds that a token lives.
        seconds: For how long it is watched.
        boot: Seconds within which all of them boot; 0: at the same moment.
        seed: Other random numbers.
        trouble: What happens meanwhile; None: nothing.
    """

    devices: int
    lifetime: float
    seconds: int
    boot: float = 0.0
    seed: int = 0
    trouble: Trouble | None = None

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
    for _ in range(min(PART, fleet.devices - part * PART)):
        for now in _requests(fleet, chance):
            counts[int(now)] += 1
    return counts


def _requests(fleet: Fleet, chance: Callable[[], float]) -> Iterator[float]:
    """Say when one device asks, from its boot on."""
    lifetime, trouble = fleet.lifetime, fleet.trouble
    away = trouble if trouble is not None and trouble.what == "server" else None
    now = fleet.boot * chance() if fleet.boot else 0.0
    age, renewal, disturbed, failures = math.inf, 0.0, False, 0
    while now < fleet.seconds:
        yield now
        if away is not None and away.begins <= now < away.ends:
            failures += 1
            wait = wait_after(_AWAY, count=failures, lifetime=lifetime, chance=chance())
            now, age = now + wait, age + wait
            continue
        replaced = on_schedule(age, lifetime, renewal, disturbed=disturbed or failures > 0)
        # The next token's age is counted from this request.
        age = renewal = renewal_age(lifetime, chance(), first=not replaced)
        disturbed, failures = False, 0
        if trouble is not away and trouble is not None and now < trouble.begins <= now + renewal:
            age, disturbed = _age_after(trouble, now, lifetime, chance), True
        now += age


def _age_after(
    trouble: Trouble, obtained: float, lifetime: float, chance: Callable[[], float]
) -> float:
    """Return the age at which a token is replaced that trouble has met."""
    if trouble.what == "clock":
        return trouble.begins + chance() - obtained
    age = trouble.ends - obtained
    return max(age, renewal_age(lifetime, chance(), first=True, since=age))


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

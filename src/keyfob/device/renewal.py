# SPDX-License-Identifier: Apache-2.0
"""When to renew a token: early enough, and not all at once.

Theory of operation. A fleet that lost its power boots in the same minute. If every device renewed
its token at the same share of its lifetime, the authorization server would meet all of them again
in one minute, once in each lifetime, for ever. So the first renewal after a start is spread over
nearly the whole lifetime, once and for all; every later one over the last quarter of it, which
keeps them apart. A start is not all that has a fleet ask in one minute: a server that comes back,
a step of every clock, a refusal of every token do, too. So only a token that took the place of
another one on that one's schedule is renewed late in its life; every other one counts as a first.
What is left of the lifetime behind that, the leeway, is for a server that is away: a failed
renewal is tried again while the present token still serves.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = [
    "FIRST_EARLIEST",
    "LATER_EARLIEST",
    "Freshness",
    "freshness",
    "leeway_of",
    "margin_of",
    "on_schedule",
    "renewal_age",
]

FIRST_EARLIEST: Final = 0.05
"""The earliest first renewal, as a share of the lifetime without its leeway."""

LATER_EARLIEST: Final = 0.75
"""The earliest later one."""

_LEEWAY_SHARE: Final = 0.1
_LEEWAY_LEAST: Final = 10.0
_LEEWAY_MOST: Final = 300.0

_MARGIN_SHARE: Final = 0.02
_MARGIN_MOST: Final = 5.0


class Freshness(Enum):
    """What a token is good for."""

    FRESH = "fresh"
    """It is used."""
    STALE = "stale"
    """It is used, and a new one is wanted."""
    EXPIRED = "expired"
    """It is not shown to anybody any more."""


def leeway_of(lifetime: float) -> float:
    """Return the seconds at a lifetime's end that are kept for trying again.

    A tenth, at least 10 seconds and at most 5 minutes; of a very short life no more than half.
    """
    wanted = min(max(_LEEWAY_SHARE * lifetime, _LEEWAY_LEAST), _LEEWAY_MOST)
    return min(wanted, lifetime / 2)


def margin_of(lifetime: float) -> float:
    """Return the seconds before its end when a token is no longer shown.

    What is sent now is read a moment later, by a machine whose clock may be a little ahead.
    """
    return min(_MARGIN_SHARE * lifetime, _MARGIN_MOST)


def renewal_age(
    lifetime: float,
    chance: float,
    *,
    first: bool,
    leeway: float | None = None,
    since: float = 0.0,
) -> float:
    """Return the age, in seconds, at which a token is to be renewed.

    Args:
        lifetime: Seconds that the token lives, from when it was asked for.
        chance: A random number from 0 to 1, drawn once for each token.
        first: Whether it took no other one's place ``on_schedule``.
        leeway: Seconds to keep for trying again; None: what the lifetime suggests.
        since: The age that it has already: what was stored is spread over what is left of it.
    """
    kept = leeway_of(lifetime) if leeway is None else min(leeway, lifetime / 2)
    latest = lifetime - kept
    earliest = latest * (FIRST_EARLIEST if first else LATER_EARLIEST)
    earliest = min(max(earliest, since), latest)
    return earliest + (latest - earliest) * chance


def freshness(age: float, lifetime: float, renewal: float) -> Freshness:
    """Tell what a token is good for.

    Args:
        age: Its age in seconds.
        lifetime: The seconds that it lives.
        renewal: The age at which it is to be renewed.
    """
    if age >= lifetime - margin_of(lifetime):
        return Freshness.EXPIRED
    return Freshness.FRESH if age < renewal else Freshness.STALE


def on_schedule(age: float, lifetime: float, renewal: float, *, disturbed: bool) -> bool:
    """Tell whether a token is replaced for its age alone, so at a moment of the device's own.

    Args:
        age: Its age in seconds.
        lifetime: The seconds that it lives.
        renewal: The age at which it was to be renewed.
        disturbed: Whether something happened to it that may have happened to a whole fleet.
    """
    return not disturbed and freshness(age, lifetime, renewal) is Freshness.STALE

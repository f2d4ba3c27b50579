# SPDX-License-Identifier: Apache-2.0
"""How long to wait after a renewal that failed; pure.

A server that is away is asked again soon, then ever less often, at a moment that is drawn (full
jitter), so that a fleet does not come back at once. What it says itself (``Retry-After``) is the
least. One that refuses is asked again after a quarter of an hour: nothing here will change that,
but somebody there may.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from keyfob.device.clock import Moment, age, stepped
from keyfob.errors import KeyfobError, TokenRequestError, TokenUnavailableError

__all__ = ["REFUSED_AGAIN", "Failure", "again", "wait_after"]

REFUSED_AGAIN: Final = 900.0
"""Seconds after which a refused device asks again, give or take a quarter."""

FIRST_CEILING: Final = 1.0
MOST_CEILING: Final = 300.0
LEAST_CEILING: Final = 5.0
"""The ceiling rises to this even for a very short life, which leaves no time for long pauses."""

_FLOOR: Final = 0.1
"""Share of the ceiling that is waited at least: no draw lets anybody ask again at once."""
_SPREAD: Final = 0.25
"""Share of what the server says by which its crowd is spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The last renewal failed.

    Attributes:
        error: Why.
        at: When.
        wait: Seconds in which nothing is asked then.
        count: How many times in a row, this one included.
    """

    error: KeyfobError = field(repr=False)
    at: Moment
    wait: float
    count: int

    def pause(self, now: Moment) -> float:
        """Return in how many seconds to ask again; 0 or less: now.

        A clock that was set since then may be what failed: an assertion had ended by it, or a
        certificate had not begun. A server that said when to come is as busy as before.
        """
        stated = (
            isinstance(self.error, TokenUnavailableError) and self.error.retry_after is not None
        )
        if stepped(self.at, now) and not stated:
            return 0.0
        return self.wait - age(self.at, now)


def wait_after(error: KeyfobError, *, count: int, lifetime: float, chance: float) -> float:
    """Return for how many seconds nothing is asked.

    Args:
        error: What went wrong.
        count: How many times in a row, this one included.
        lifetime: Seconds that a token lives; 0: not known.
        chance: A random number from 0 to 1.
    """
    if isinstance(error, TokenRequestError):
        return REFUSED_AGAIN * (0.75 + 0.5 * chance)
    most = min(max(lifetime / 4, LEAST_CEILING), MOST_CEILING) if lifetime else MOST_CEILING
    ceiling = min(most, FIRST_CEILING * 2.0 ** min(count - 1, 32))
    wait = ceiling * (_FLOOR + (1 - _FLOOR) * chance)
    stated = error.retry_after if isinstance(error, TokenUnavailableError) else None
    return wait if stated is None else max(wait, stated * (1 + _SPREAD * chance))


def again(error: KeyfobError, *, retry_after: float | None = None) -> KeyfobError:
    """Make an error anew: the old one's traceback leads to what was sent, and to other threads.

    Args:
        error: The old one.
        retry_after: Seconds in which nothing will be asked.
    """
    if isinstance(error, TokenRequestError):
        return TokenRequestError(error.message, error=error.error, status=error.status)
    return TokenUnavailableError(error.message, code=error.code, retry_after=retry_after)

# SPDX-License-Identifier: Apache-2.0
"""How often device codes are polled and user codes are guessed (RFC 8628 sections 3.5 and 5.1).

One process counts in its memory, as here; several that share a database count there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from keyfob.http.allowance import Allowance

__all__ = [
    "WRONG_AT_ONCE",
    "WRONG_A_SECOND",
    "PollTimes",
    "PollTimesInMemory",
    "WrongCodes",
    "WrongCodesInMemory",
]

# Wrong codes of all operators together: so many at once, and then one a second. Beside the limits
# of each of them it keeps the odds of a guess small however many accounts somebody has.
WRONG_AT_ONCE: Final = 100
WRONG_A_SECOND: Final = 1.0
# More than there can be open requests: nobody's last poll is forgotten while it matters.
_REMEMBERED: Final = 20_000


class PollTimes(Protocol):
    """When device codes were polled last."""

    async def polled(self, code_hash: bytes, now: float) -> float | None:
        """Note a poll, and return when the one before was; None where none is known of.

        One atomic operation: of two at once, one is after the other.

        Args:
            code_hash: SHA-256 of a code that exists.
            now: Unix seconds.

        Raises:
            UpstreamError: The database does not answer.
        """


class WrongCodes(Protocol):
    """What is left of the wrong user codes that all operators together may type."""

    async def wait(self) -> float:
        """Return the seconds until there is one left; 0 where there is.

        Raises:
            UpstreamError: The database does not answer.
        """

    async def take(self) -> None:
        """Spend one, where there is one.

        Raises:
            UpstreamError: The database does not answer.
        """


class PollTimesInMemory:
    """The ``PollTimes`` of one process."""

    def __init__(self) -> None:
        self._times: OrderedDict[bytes, float] = OrderedDict()

    async def polled(self, code_hash: bytes, now: float) -> float | None:
        """Note a poll, and return when the one before was; None where none is known of."""
        before = self._times.pop(code_hash, None)
        self._times[code_hash] = now
        if len(self._times) > _REMEMBERED:
            self._times.popitem(last=False)
        return before


class WrongCodesInMemory:
    """The ``WrongCodes`` of one process.

    Args:
        ticks: Seconds that never step back.
    """

    def __init__(self, ticks: Callable[[], float]) -> None:
        self._ticks = ticks
        self._left = Allowance(rate=WRONG_A_SECOND, most=WRONG_AT_ONCE)

    async def wait(self) -> float:
        """Return the seconds until there is one left; 0 where there is."""
        return self._left.wait(self._ticks())

    async def take(self) -> None:
        """Spend one, where there is one."""
        self._left.take(self._ticks())

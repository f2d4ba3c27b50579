# SPDX-License-Identifier: Apache-2.0
"""The token that a source has at present, and what is to become of it; pure."""

from __future__ import annotations

from dataclasses import dataclass

from keyfob.device.clock import Moment, age, stepped
from keyfob.device.renewal import Freshness, freshness, on_schedule
from keyfob.device.token import Token

__all__ = ["Held"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The present token.

    Attributes:
        token: It.
        renewal: The age, in seconds, at which it is to be renewed.
        kept: Whether it was there before its source was.
        refused: Whether a broker refused it.
    """

    token: Token
    renewal: float
    kept: bool = False
    refused: bool = False

    def freshness(self, now: Moment) -> Freshness:
        """Tell what it is good for."""
        found = freshness(self._age(now), self.token.lifetime, self.renewal)
        if found is Freshness.FRESH and self._doubtful(now):
            # The clock that went on may be the wrong one: ask, and go on with the token meanwhile.
            return Freshness.STALE
        return found

    def on_schedule(self, now: Moment, *, failed: bool) -> bool:
        """Tell whether it is replaced now when it was meant to be.

        A start, its end, a server that was away, a step of the clock or a refusal may have met the
        whole fleet at once: its next tokens are then spread as the first ones are.

        Args:
            now: The present moment.
            failed: Whether a renewal of it has failed.
        """
        disturbed = self.kept or failed or self._doubtful(now)
        return on_schedule(self._age(now), self.token.lifetime, self.renewal, disturbed=disturbed)

    def _age(self, now: Moment) -> float:
        return age(self.token.obtained, now)

    def _doubtful(self, now: Moment) -> bool:
        return self.refused or stepped(self.token.obtained, now)

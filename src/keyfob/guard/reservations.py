# SPDX-License-Identifier: Apache-2.0
"""Client identifiers between a decision and the broker's word that the client is in.

Two principals whose templates both allow an identifier could otherwise both be let in before
either has a session, and the second would take the first one's.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

__all__ = ["HOLD", "Reservations"]

HOLD: Final = 10.0
"""Seconds: longer than any plugin waits for a decision and any broker takes to let a client in."""

_Owner = tuple[str, str]


class Reservations:
    """Who was let in last under which client identifier, for a short time."""

    def __init__(self) -> None:
        # Renewed ones move to the end, so the order is that of the ends.
        self._held: OrderedDict[tuple[str, str], tuple[_Owner, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def holder(self, broker: str, client_id: str, now: float) -> _Owner | None:
        """Return the issuer and subject that an identifier is held for."""
        held = self._held.get((broker, client_id))
        # Both ways: a clock stepped back must not hold for longer.
        return held[0] if held is not None and abs(now - held[1]) < HOLD else None

    def hold(self, broker: str, client_id: str, owner: _Owner, now: float) -> None:
        """Hold an identifier for its owner from now on."""
        key = (broker, client_id)
        self._held[key] = (owner, now)
        self._held.move_to_end(key)
        while self._held:
            oldest = next(iter(self._held))
            if abs(now - self._held[oldest][1]) < HOLD:
                break
            del self._held[oldest]

    def release(self, broker: str, client_id: str) -> None:
        """Let an identifier go: there is a session now."""
        self._held.pop((broker, client_id), None)

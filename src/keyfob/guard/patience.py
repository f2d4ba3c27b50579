# SPDX-License-Identifier: Apache-2.0
"""Whether a broker that stands still while it waits may be kept waiting for an issuer.

Mosquitto serves nobody while a plugin waits for a decision, unless it is told to go on. So one wait
in vain is the last until the issuer has answered as fast as it has to: a server that hangs costs
the other clients one short pause, and not one for each CONNECT.
"""

from __future__ import annotations

import math

__all__ = ["Patience"]


class Patience:
    """What was learned of one issuer's speed."""

    __slots__ = ("_latency",)

    def __init__(self) -> None:
        self._latency = 0.0

    def may_wait(self, bound: float) -> bool:
        """Tell whether to wait.

        Args:
            bound: Seconds that anybody would wait at most.
        """
        return self._latency <= bound

    def waited_in_vain(self) -> None:
        """Take note that an answer did not come in time."""
        self._latency = math.inf

    def answered_in(self, seconds: float) -> None:
        """Take note of how long the last answer took."""
        self._latency = seconds

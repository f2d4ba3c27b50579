# SPDX-License-Identifier: Apache-2.0
"""Whether a broker that stands still while it waits may be kept waiting for an issuer.

Mosquitto 2.0 serves nobody while a plugin waits for a decision. So one wait in vain is the last
until the issuer has answered as fast as it has to: a server that hangs costs the other clients one
short pause, and not one for each CONNECT.
"""

from __future__ import annotations

__all__ = ["Patience"]


class Patience:
    """What was learned of one issuer's speed."""

    __slots__ = ("_in_vain",)

    def __init__(self) -> None:
        self._in_vain = False

    @property
    def may_wait(self) -> bool:
        """Whether to wait."""
        return not self._in_vain

    def waited_in_vain(self) -> None:
        """Take note that an answer did not come in time."""
        self._in_vain = True

    def answered(self, seconds: float, bound: float) -> None:
        """Take note of an answer.

        Args:
            seconds: How long it took.
            bound: How long anybody would have waited.
        """
        self._in_vain = seconds > bound

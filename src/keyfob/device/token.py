# SPDX-License-Identifier: Apache-2.0
"""Token: what an authorization server gave a device, and since when (RFC 6749 section 5.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from keyfob.device.clock import Moment

__all__ = ["Token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token and what belongs to it; its repr shows no secret.

    Attributes:
        access_token: What is shown to the broker.
        token_type: ``Bearer``, or ``DPoP`` where it is bound to the device's key (RFC 9449).
        scope: What it allows, as the server says; empty: what was asked for.
        lifetime: Seconds that it lives, from ``obtained``.
        obtained: When it was asked for: a little before its life began.
        refresh_token: What the next one is asked for with, if the server gave any.
    """

    access_token: str = field(repr=False)
    token_type: str
    scope: str
    lifetime: float
    obtained: Moment
    refresh_token: str | None = field(default=None, repr=False)

    @property
    def expires_at(self) -> float:
        """When its life ends, in Unix seconds, by this machine's clock at the time."""
        return self.obtained.wall + self.lifetime

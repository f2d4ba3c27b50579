# SPDX-License-Identifier: Apache-2.0
"""How long a soak is and how hard."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Plan"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of it.

    Attributes:
        seconds: How long the parts are disrupted.
        seed: Draws everything.
        devices: How many there are.
        lifetimes: Of tokens, from and to, in seconds.
        pause: Between two disruptions, from and to, in seconds.
        interval: Between two messages of a device, in seconds.
    """

    seconds: float
    seed: str
    devices: int = 20
    lifetimes: tuple[int, int] = (8, 20)
    pause: tuple[float, float] = (1.5, 4.0)
    interval: float = 0.5

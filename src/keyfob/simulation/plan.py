# SPDX-License-Identifier: Apache-2.0
"""What a fleet does: whom it asks, where it connects, and for how long."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

__all__ = ["LONGEST_SETTLE", "PLACEHOLDER", "SETTLE", "Credential", "Plan", "boots"]

PLACEHOLDER: Final = "{device}"
"""What stands for each device's name in a topic."""

SETTLE: Final = 10.0
"""Seconds at the end without a message after which those on their way are given up."""

LONGEST_SETTLE: Final = 60.0
"""Seconds after which they are in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A device, and what it proves itself by."""

    client_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a fleet does.

    Attributes:
        issuer: Whom tokens are asked for.
        ca: A file of certificates that alone are trusted; None: the system's.
        host: The broker.
        port: Its port.
        tls: Whether it is spoken to by TLS.
        carry: As for ``keyfob.device.paho.attach``.
        renew: As for ``attach``.
        topic: What each device publishes to; ``{device}`` stands for its name.
        qos: Of its messages, and of its subscription.
        publish_every: Seconds between two messages of a device, give or take half; 0: none.
        boot: Seconds within which all of them boot.
        duration: Seconds from the first boot to the last message.
        run: What the messages of this run begin with.
        seed: Other boot times.
    """

    issuer: str
    ca: str | None
    host: str
    port: int
    tls: bool
    carry: str
    renew: str
    topic: str
    qos: int
    publish_every: float
    boot: float
    duration: float
    run: str
    seed: int = 0

    def topic_of(self, client_id: str) -> str:
        """Return what a device publishes to."""
        return self.topic.replace(PLACEHOLDER, client_id)


def boots(plan: Plan, devices: int) -> list[float]:
    """Return when each device boots, in seconds from the beginning."""
    # No secret is drawn here, and whoever repeats it shall see the same.
    chance = random.Random(plan.seed).random  # noqa: S311
    return [plan.boot * chance() for _ in range(devices)]

# SPDX-License-Identifier: Apache-2.0
"""What operators are told of deliveries: what is out of the usual, and never each event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

__all__ = ["DeliveryAudit", "DeliveryNote", "What", "ignore_deliveries"]

What = Literal["failing", "recovered", "held", "rejected", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryNote:
    """Something about the deliveries to a receiver.

    Attributes:
        at: When, in Unix seconds.
        what: ``failing`` and ``recovered`` are about the receiver, ``held`` and ``rejected`` about
            one event, ``expired`` about several.
        receiver: Its name.
        reason: Why.
        subject: The device that the event is about.
        token_id: The event's ``jti``.
        count: How many events.
    """

    at: float
    what: What
    receiver: str
    reason: str = ""
    subject: str = ""
    token_id: str = ""
    count: int = 1


DeliveryAudit = Callable[[DeliveryNote], None]


def ignore_deliveries(_: DeliveryNote) -> None:
    """Tell nobody."""

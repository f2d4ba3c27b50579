# SPDX-License-Identifier: Apache-2.0
"""A request for a device that waits for a person, and what a poll for it means (RFC 8628).

A request is pending until somebody approves or denies it, or its time is over. What was approved is
collected once. Who polls faster than he was told to is told to slow down, and the interval grows by
five seconds each time, for this and for all later polls (section 3.5).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "INTERVAL",
    "MAX_INTERVAL",
    "SLOWER_BY",
    "DeviceRequest",
    "Poll",
    "State",
    "judge",
    "slower",
]

INTERVAL: Final = 5
SLOWER_BY: Final = 5
# Beyond it nothing is written down any more: a client that never slows down writes eleven times.
MAX_INTERVAL: Final = 60
# Two polls that left in time may arrive closer together than they left.
_JITTER: Final = 1.0


class State(enum.StrEnum):
    """What has become of a request."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    USED = "used"


class Poll(enum.StrEnum):
    """What a poll means; the value is the reason in the audit where it is refused."""

    APPROVED = "approved"
    """A token may be issued, once."""
    PENDING = "pending"
    """Nobody has decided yet."""
    TOO_FAST = "polled_too_fast"
    """The same, and the client did not wait for as long as it was told to."""
    DENIED = "approver_denied"
    EXPIRED = "device_code_expired"
    USED = "device_code_used"
    FOREIGN = "device_code_of_other_client"
    UNKNOWN = "device_code_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRequest:
    """One request, as it is kept.

    Args:
        code_hash: SHA-256 of the device code.
        user_hash: From ``user_code_hash``.
        client_id: The application that asked.
        peer: The address that it asked from.
        network: What that address is counted as; see ``limits.network_of``.
        scope: What it asked for; None: all that the device is registered for.
        hint: The device that it named; empty: the approver says which one it is.
        created_at: When it asked, in Unix seconds.
        expires_at: When the codes stop.
        interval: Seconds that the client has to wait between two polls.
        state: What has become of it.
        subject: The device that it was approved for; empty before that.
        scopes: What was approved.
        decided_by: The operator who approved or denied it; empty before that.
        decided_at: When; 0 before that.
    """

    code_hash: bytes = field(repr=False)
    user_hash: bytes = field(repr=False)
    client_id: str
    peer: str
    network: str
    scope: str | None
    hint: str
    created_at: float
    expires_at: float
    interval: int = INTERVAL
    state: State = State.PENDING
    subject: str = ""
    scopes: tuple[str, ...] = ()
    decided_by: str = ""
    decided_at: float = 0.0

    def is_open(self, now: float) -> bool:
        """Say whether somebody may still decide about it."""
        return self.state is State.PENDING and now < self.expires_at


def judge(
    request: DeviceRequest | None,
    *,
    client_id: str,
    now: float,
    last_poll: float | None,
    interval: int,
) -> Poll:
    """Say what a poll means.

    Args:
        request: What the device code belongs to; None where it belongs to nothing.
        client_id: Who polls, authenticated.
        now: Unix seconds.
        last_poll: When this code was polled before; None where it was not, or nobody knows.
        interval: The seconds that had to pass since then.
    """
    if request is None:
        return Poll.UNKNOWN
    if request.client_id != client_id:
        return Poll.FOREIGN
    if request.state is State.USED:
        return Poll.USED
    if now >= request.expires_at:
        return Poll.EXPIRED
    if request.state is State.DENIED:
        return Poll.DENIED
    if request.state is State.APPROVED:  # whoever is too fast now is served all the same
        return Poll.APPROVED
    # Less than nothing has passed where the clock was set back: that is nobody's haste.
    if last_poll is not None and 0 <= now - last_poll < interval - _JITTER:
        return Poll.TOO_FAST
    return Poll.PENDING


def slower(interval: int) -> int:
    """Return the interval that follows where a client was too fast (RFC 8628 section 3.5)."""
    return min(MAX_INTERVAL, interval + SLOWER_BY)

# SPDX-License-Identifier: Apache-2.0
"""How long an answer to a broker's nonce counts."""

from __future__ import annotations

from typing import Final

from keyfob.tokens.proof_keys import unproven

__all__ = ["CHALLENGE_SECONDS", "check_fresh"]

CHALLENGE_SECONDS: Final = 60
"""Seconds that a client has to answer a challenge. A nonce is given to one connection, and counts
for one answer on it; this bounds how long somebody may take to have it signed elsewhere."""


def check_fresh(challenged_at: float, now: float) -> None:
    """Refuse an answer that comes too late.

    Args:
        challenged_at: When the nonce was given, in Unix seconds.
        now: Unix seconds.

    Raises:
        ClaimError: ``confirmation_unproven``.
    """
    # Also of a clock that was set back by more: whether the nonce is old cannot be told then.
    if not abs(now - challenged_at) <= CHALLENGE_SECONDS:
        raise unproven("the answer came too late: the nonce is not good any more")

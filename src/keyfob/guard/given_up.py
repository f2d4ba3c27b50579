# SPDX-License-Identifier: Apache-2.0
"""Whose a revoked session is, once the rules do not let its owner have it any more.

A client identifier with a session is never handed to another principal. The mark of a revoked
session outlives what it was revoked for, and holds its identifier for the owner who may come back.
Where nobody may, it would hold it for nobody: another one takes it then, by a clean start, with
which the broker drops what is queued and subscribed. Resuming stays refused.
"""

from __future__ import annotations

from typing import Final

from keyfob.authorization.decision import DenyReason
from keyfob.guard.reconsidering import Reconsiders
from keyfob.guard.session import Session, SessionState

__all__ = ["is_given_up"]

_FOR_GOOD: Final = (DenyReason.ISSUER_UNKNOWN, DenyReason.CLIENT_ID_MISMATCH)
"""What no other token of the owner's could mend."""


def is_given_up(session: Session, judge: Reconsiders, now: float) -> bool:
    """Tell whether a session is marked, and its owner may not have its identifier any more.

    Args:
        session: The session.
        judge: Who judges now.
        now: Unix seconds.
    """
    if session.state is not SessionState.REVOKED:
        return False
    decision = judge.reconsider(session, now)
    return decision is not None and decision.reason in _FOR_GOOD

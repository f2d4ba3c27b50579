# SPDX-License-Identifier: Apache-2.0
"""A client that is connected shows its next token (MQTT 5.0 section 4.12.1): whose may it be?

The connection stays that of its issuer, subject and OAuth client, and its principal stays the
broker's username. What changes is what it may do, and until when.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from keyfob.authorization.decision import Decision, DenyReason
from keyfob.guard.admission import Admission
from keyfob.guard.session import Session, SessionState
from keyfob.guard.sessions import SessionStore

__all__ = ["Renewal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """One connection that is to go on with another token.

    Attributes:
        sessions: All sessions: this one may end while its issuer is asked.
        broker: The broker's name.
        client_id: The client.
        epoch: Which of its connections.
    """

    sessions: SessionStore
    broker: str
    client_id: str
    epoch: int

    def session(self) -> Session | None:
        """Return the connection's session, if it is still live."""
        session = self.sessions.get(self.broker, self.client_id)
        live = session is not None and session.state is SessionState.ONLINE
        return session if live and session is not None and session.epoch == self.epoch else None

    def held(self, decision: Decision) -> Decision:
        """Return what becomes of a decision about the new token: it has to be the same client's."""
        session = self.session()
        if session is None:
            detail = "The connection is not known here, or its session was ended."
            return Decision.refuse(DenyReason.SESSION_ENDED, detail=detail)
        if not isinstance(decision, Admission):
            return decision
        if session.bound not in (None, decision.bound):
            # No downgrade; and RFC 9431 section 4: only who has proven a key goes on by another.
            detail = "The connection's first token was bound in another way than this one."
            return Decision.refuse(DenyReason.CONFIRMATION_UNPROVEN, detail=detail)
        same = (decision.issuer, decision.subject) == session.owner
        if not same or session.client not in (None, decision.client):
            return Decision.refuse(
                DenyReason.IDENTITY_CHANGED,
                principal=session.principal,
                issuer=decision.issuer,
                subject=decision.subject,
                token_id=decision.token_id,
                explain=decision.explain,
            )
        return msgspec.structs.replace(
            decision,
            principal=session.principal,
            clean=session.clean,
            assigned=session.assigned,
            renews=session,
        )

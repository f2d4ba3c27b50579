# SPDX-License-Identifier: Apache-2.0
"""Sessions begin, go on with another token, and go offline: by the broker's word alone.

A decision that the broker did not act on changes nothing here.
"""

from __future__ import annotations

from collections.abc import Callable

from keyfob.authorization.decision import Decision
from keyfob.errors import ProtocolError
from keyfob.guard.admission import Admission
from keyfob.guard.endings import Endings, ended_as_expired
from keyfob.guard.given_up import is_given_up
from keyfob.guard.live_tokens import LiveTokens
from keyfob.guard.reconsidering import Reconsidering, Reconsiders
from keyfob.guard.renewal import Renewal
from keyfob.guard.reservations import Reservations
from keyfob.guard.session import End, Replacement, Session, SessionState
from keyfob.guard.sessions import SessionStore

__all__ = ["Arrivals"]


class Arrivals:
    """Takes note of what a broker did with a decision.

    Args:
        sessions: The sessions.
        reservations: Holds the identifiers of who is let in.
        endings: Ends sessions.
        live: The tokens that are asked about again.
        reconsidering: Decides sessions again.
        judge: Returns who judges now.
        clock: Unix seconds.
    """

    def __init__(
        self,
        sessions: SessionStore,
        reservations: Reservations,
        *,
        endings: Endings,
        live: LiveTokens,
        reconsidering: Reconsidering,
        judge: Callable[[], Reconsiders],
        clock: Callable[[], float],
    ) -> None:
        self._sessions = sessions
        self._reservations = reservations
        self._endings = endings
        self._live = live
        self._reconsidering = reconsidering
        self._judge = judge
        self._clock = clock

    def admitted(self, broker: str, client_id: str, epoch: int, decision: Decision) -> End | None:
        """Begin a session, or let it go on with another token; see ``Guard.admitted``."""
        if not isinstance(decision, Admission) or decision.client_id not in ("", client_id):
            raise ProtocolError("a client was admitted that was not let in")
        before = self._sessions.get(broker, client_id)
        session = decision.session(broker, client_id, epoch)
        if decision.renews is not None:
            return self._renewed(before, session, decision, decision.renews)
        self._reservations.release(broker, client_id)
        if before is not None and before.owner != session.owner and not self._given_up(before):
            return self._endings.tell_owned(session)
        return self._begun(session, decision)

    def renewed_late(self, renewal: Renewal, decision: Decision) -> None:
        """Take what was decided about a connection's next token when its broker waited no more.

        The broker has told the client that its re-authentication is over, and let it go on with the
        token that it had. So a good one replaces that now; one that is refused ends the connection,
        as it would have at once (MQTT 5.0 section 4.12.1).
        """
        session = renewal.session()
        if session is None or session.expires_at <= self._clock():
            return  # it has ended, or its end has come
        if not isinstance(decision, Admission):
            self._endings.notify(ended_as_expired(session))
            return
        ended = self._begun(
            decision.session(renewal.broker, renewal.client_id, renewal.epoch), decision
        )
        present = self._sessions.get(*session.key)
        if ended is not None:
            self._endings.notify(ended)
        elif present is not None:
            self._endings.notify(Replacement(session=present))

    def offline(self, broker: str, client_id: str, epoch: int, kept: bool) -> None:
        """Take note that a connection is gone; see ``Guard.offline``."""
        session = self._sessions.get(broker, client_id)
        if session is not None and session.epoch == epoch:
            self._live.forget(session)
        self._sessions.offline(broker, client_id, epoch, kept=kept, now=self._clock())

    def _renewed(
        self, before: Session | None, session: Session, decision: Admission, renews: Session
    ) -> End | None:
        if before is None or before.epoch != session.epoch:
            return None  # the connection has gone since
        if before.state is not SessionState.ONLINE:
            # The token that it had was revoked while the new one was decided about: that it has
            # another now does not undo what the broker was told.
            return None
        end = self._begun(session, decision)
        present = self._sessions.get(*session.key)
        if end is None and before is not renews and present is not None:
            # The broker may have been told of the old token's rights behind the new one's.
            self._endings.notify(Replacement(session=present))
        return end

    def _given_up(self, session: Session) -> bool:
        return is_given_up(session, self._judge(), self._clock())

    def _begun(self, session: Session, decision: Admission) -> End | None:
        revocation = self._endings.revocation_of(session)
        if revocation is not None:
            self._sessions.revoke(session, now=self._clock())
            return self._endings.tell_revoked(session, revocation)
        session = self._live.begin(session, decision)
        self._sessions.put(session)
        if decision.judge is not self._judge():  # the policy has changed since
            self._reconsidering.one(session, self._judge())
        return None

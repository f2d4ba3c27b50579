# SPDX-License-Identifier: Apache-2.0
"""Plugin and guard agree who is there, whichever of them is new (docs/wire-protocol.md).

Theory of operation. Each run of a broker has an instance number. A link begins with the plugin's
list of the clients that it knows; nothing changes here before the list is complete.

- The instance is the one that the sessions here are of: the guard was away, or the link was. The
  broker went on without it, so the plugin's list is the truth: what it does not name is gone.
- The instance is new: the broker restarted, its connections are gone, what it stored is there.
  The sessions here are the truth, all offline, and the plugin is given them. What its list names
  nevertheless (this guard is newer than that broker, or an answer broke off) is adopted.

An answer may break off on its way. So an instance counts as new until ``confirm``: until the
plugin has shown that it read the whole answer. Before that, a list without a stored session may
come from a plugin that was never given it, and is no sign that the session is gone.

Either way, what was revoked meanwhile, or is of an issuer that is not trusted any more, is ended,
and stays marked.

An adopted client's token is not known here, so neither is its time of issue: every revocation of
its subject and OAuth client concerns it. That ends a session too many rather than one too few; its
device connects again and is known then. What a re-authentication is held to, the plugin remembers:
the owner, the OAuth client, whether the token was bound to a key, and whether the identifier was
assigned.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from keyfob.errors import ProtocolError
from keyfob.guard.endings import Endings
from keyfob.guard.session import (
    End,
    EndCause,
    PluginRecord,
    Replacement,
    Session,
    SessionState,
)
from keyfob.guard.sessions import SessionStore

__all__ = ["Resync", "ResyncAnswer"]

MAX_RECORDS: Final = 1_000_000
"""Records of one link: ten times what a plugin stores, and more than a broker of one thread
serves; a plugin that sends more is broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResyncAnswer:
    """What the plugin is told at the end of its list.

    Attributes:
        records: Sessions that it needs and did not have.
        ends: Sessions that it must end, after those records.
        replacements: Live sessions that may do something else than it believes.
    """

    records: tuple[Session, ...]
    ends: tuple[End, ...]
    replacements: tuple[Replacement, ...] = ()


class Resync:
    """One plugin's list, taken record by record.

    Args:
        store: The sessions; changed by ``finish`` and ``confirm`` alone.
        broker: The broker's name.
        instance: Which run of it.
        endings: Tells whether a revocation concerns a session, and the audit what ends here.
        trusted: Tells whether an issuer is trusted.
        adopted: Returns a session of the list as it is to be remembered.
        clock: Unix seconds.
    """

    def __init__(
        self,
        store: SessionStore,
        broker: str,
        instance: bytes,
        *,
        endings: Endings,
        trusted: Callable[[str], bool],
        adopted: Callable[[Session], Session] = lambda session: session,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._broker = broker
        self._instance = instance
        self._endings = endings
        self._trusted = trusted
        self._adopted = adopted
        self._clock = clock
        self._listed: dict[str, PluginRecord] = {}

    def record(self, record: PluginRecord) -> None:
        """Take one record of the plugin's list.

        Raises:
            ProtocolError: The list names a client twice, or more clients than any broker has.
        """
        if record.client_id in self._listed:
            raise ProtocolError("the plugin's list names a client twice")
        if len(self._listed) >= MAX_RECORDS:
            raise ProtocolError(f"the plugin's list has more than {MAX_RECORDS} records")
        self._listed[record.client_id] = record

    def finish(self) -> ResyncAnswer:
        """Bring the sessions here in line with the list, and say what the plugin lacks.

        The list may be a million records long, and is given up.
        """
        now = self._clock()
        restarted = self._store.instance(self._broker) != self._instance
        records: list[Session] = []
        ends: list[End] = []
        for session in self._store.of_broker(self._broker):
            if session.client_id in self._listed:
                continue
            # A new broker stores no clean session, and the old one's list leaves out what is gone.
            if not restarted or session.clean:
                self._store.remove(self._broker, session.client_id)
                continue
            stored = self._marked_if_over(_stored(session, now), now)
            records.append(stored)
            ends.extend(_ends(stored))
        replacements: list[Replacement] = []
        for record in self._listed.values():
            ends.extend(self._adopt(record, restarted=restarted, now=now))
            replacements.extend(self._replacement(record))
        self._listed = {}
        return ResyncAnswer(
            records=tuple(records), ends=tuple(ends), replacements=tuple(replacements)
        )

    def confirm(self) -> None:
        """Take note that the plugin has read the answer: from now on its next list is the truth."""
        if self._store.instance(self._broker) != self._instance:
            self._store.set_instance(self._broker, self._instance)

    def _adopt(self, record: PluginRecord, *, restarted: bool, now: float) -> tuple[End, ...]:
        known = self._store.get(self._broker, record.client_id)
        session = _merged(self._broker, record, known, restarted=restarted, now=now)
        session = self._marked_if_over(self._adopted(session), now)
        return () if record.state is SessionState.REVOKED else _ends(session)

    def _replacement(self, record: PluginRecord) -> tuple[Replacement, ...]:
        """Say what a live session may do if the plugin was not told: the link was down."""
        session = self._store.get(self._broker, record.client_id)
        if session is None or session.state is not SessionState.ONLINE:
            return ()
        present = (session.permissions, math.floor(session.expires_at * 1000) / 1000)
        if present == (record.permissions, record.expires_at):
            return ()
        return (Replacement(session=session),)

    def _marked_if_over(self, session: Session, now: float) -> Session:
        if session.state is not SessionState.REVOKED and self._is_over(session):
            return self._store.revoke(session, now=now)
        self._store.put(session)
        return session

    def _is_over(self, session: Session) -> bool:
        """Tell whether a session may not go on, and have the audit hear why."""
        if not self._trusted(session.issuer):
            self._endings.tell_distrusted(session)
            return True
        revocation = self._endings.revocation_of(session)
        if revocation is not None:
            self._endings.tell_revoked(session, revocation)
        return revocation is not None


def _stored(session: Session, now: float) -> Session:
    """Return a session of a run that is gone: of no connection, and offline if not marked."""
    marked = session.state is SessionState.REVOKED
    return replace(
        session,
        epoch=0,
        state=SessionState.REVOKED if marked else SessionState.OFFLINE,
        offline_since=now if session.offline_since is None else session.offline_since,
    )


def _merged(
    broker: str, record: PluginRecord, known: Session | None, *, restarted: bool, now: float
) -> Session:
    """Take the plugin's word for where a client stands, and what else the guard knows itself."""
    owner = (record.issuer, record.subject)
    if known is not None and known.owner != owner:
        known = None
    if known is not None and known.epoch == record.epoch and not restarted:
        if known.state is SessionState.ONLINE and record.token_id not in ("", known.token_id):
            known = _reauthenticated(known, record)
        return _moved(known, record.state, now)
    same_connection = known is not None and known.epoch == record.epoch
    # Epoch 0 is what a link gave this run and then broke: the token is the one known here, even if
    # it has no identifier. Any other number an earlier run may have had as well.
    given = same_connection and record.epoch == 0
    same_token = (
        known is not None and known.token_id == record.token_id and (given or record.token_id != "")
    )
    adopted = Session(
        broker=broker,
        client_id=record.client_id,
        epoch=record.epoch,
        state=SessionState.ONLINE,
        clean=record.clean,
        principal=record.principal,
        issuer=record.issuer,
        subject=record.subject,
        client=record.client,
        token_id=record.token_id,
        issued_at=None,
        expires_at=record.expires_at,
        permissions=record.permissions,
        assigned=record.assigned,
        proven=record.proven,
    )
    if known is not None and same_token:
        adopted = replace(
            adopted,
            client=record.client if known.client is None else known.client,
            issued_at=known.issued_at,
            payload=known.payload,
            key_id=known.key_id,
            assigned=known.assigned,
            ask_by=known.ask_by,
            proven=record.proven if known.proven is None else known.proven,
        )
    if known is not None and same_connection and known.state is SessionState.REVOKED:
        # Its END may be what the plugin did not read before the link broke.
        return replace(adopted, state=known.state, offline_since=known.offline_since)
    return _moved(adopted, record.state, now)


def _reauthenticated(known: Session, record: PluginRecord) -> Session:
    """Return a session that went on with another token, of which the link broke the news.

    It was allowed here, to the same OAuth client. What else that token said is not known any more.
    """
    return replace(
        known,
        token_id=record.token_id,
        issued_at=None,
        expires_at=record.expires_at,
        permissions=record.permissions,
        payload=b"",
        key_id="",
        ask_by=None,
        proven=known.proven if record.proven is None else record.proven,
    )


def _moved(session: Session, state: SessionState, now: float) -> Session:
    """Return a session in the state that the plugin names; a mark of the guard's stays."""
    if session.state is SessionState.REVOKED:
        return session
    if state is SessionState.ONLINE:
        return replace(session, state=state, offline_since=None)
    since = now if session.offline_since is None else session.offline_since
    return replace(session, state=state, offline_since=since)


def _ends(session: Session) -> tuple[End, ...]:
    """Say what a plugin is told of a session beyond its record: that it is revoked, or nothing."""
    if session.state is not SessionState.REVOKED:
        return ()
    return (
        End(
            broker=session.broker,
            client_id=session.client_id,
            epoch=session.epoch,
            cause=EndCause.REVOKED,
        ),
    )

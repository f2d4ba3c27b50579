# SPDX-License-Identifier: Apache-2.0
"""Who is connected or stored at which broker: in memory, followed by the guard's file.

Sessions that are not live are kept up to an age and a number, in all and of one owner: a device
that may choose its identifiers pushes out its own sessions and nobody else's. What is evicted is
denied: the broker is told to forget it, so that nothing is delivered to it until it connects again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from keyfob.guard import session_rows
from keyfob.guard.database import Database
from keyfob.guard.revocations import Revocation
from keyfob.guard.session import Session, SessionState
from keyfob.guard.session_index import Key, SessionIndex
from keyfob.guard.shares import WHOLE, Share

__all__ = ["MAX_OFFLINE", "MAX_OFFLINE_AGE", "MAX_OFFLINE_OF_OWNER", "SessionStore"]

MAX_OFFLINE: Final = 100_000
"""As many stored sessions as the plugin keeps records of; about 100 MB with eight filters each."""

MAX_OFFLINE_AGE: Final = 30 * 24 * 3600.0
"""A device that was away for a month has missed more than a queue holds; it starts anew."""

MAX_OFFLINE_OF_OWNER: Final = 64
"""Stored sessions of one subject at one broker: usually a device has one, or one per application
that runs on it."""

_Owner = tuple[str, str, str]


class SessionStore:
    """The sessions of all brokers of one guard; used in one event loop.

    Args:
        database: The file that follows; None: nothing is kept past the process.
        max_offline: How many sessions that are not live are kept.
        max_offline_age: For how many seconds one is kept.
        max_offline_of_owner: How many are kept of one subject at one broker.
        share: Which part of the file's sessions are ours, where several workers share it.

    Raises:
        ConfigError: The file holds damaged sessions.
    """

    def __init__(
        self,
        database: Database | None = None,
        *,
        max_offline: int = MAX_OFFLINE,
        max_offline_age: float = MAX_OFFLINE_AGE,
        max_offline_of_owner: int = MAX_OFFLINE_OF_OWNER,
        share: Share = WHOLE,
    ) -> None:
        self._database = database
        self._share = share
        self._max_offline = max_offline
        self._max_offline_age = max_offline_age
        self._max_offline_of_owner = max_offline_of_owner
        self._sessions: dict[Key, Session] = {}
        self._index = SessionIndex()
        # All in the order in which sessions went: a dict remembers it.
        self._offline: dict[Key, None] = {}
        self._revoked: dict[Key, None] = {}
        self._away: dict[_Owner, dict[Key, None]] = {}
        self._crowded: set[_Owner] = set()  # owners who may have too many
        self._counts: Counter[tuple[str, SessionState]] = Counter()
        self._instances: dict[str, bytes] = {}
        if database is not None:
            for note, instance in session_rows.load_instances(database).items():
                if (broker := share.noted(note)) is not None:
                    self._instances[broker] = instance
            for session in session_rows.load_sessions(database, share.holds):
                self._remember(session)

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._sessions.values()))

    @property
    def counts(self) -> Mapping[tuple[str, SessionState], int]:
        """How many there are of each broker in each state."""
        return self._counts

    @property
    def failure(self) -> str:
        """Why the file does not follow at present; empty: it does."""
        return "" if self._database is None else self._database.failure

    def get(self, broker: str, client_id: str) -> Session | None:
        """Return the live or stored session of a client identifier, if there is one."""
        return self._sessions.get((broker, client_id))

    def concerned_by(self, revocation: Revocation) -> tuple[Session, ...]:
        """Return the sessions, at every broker, that a revocation concerns and none has marked."""
        keys = self._index.may_concern(revocation)
        some = self._sessions.values() if keys is None else map(self._sessions.__getitem__, keys)
        return tuple(session for session in some if _is_concerned(session, revocation))

    def of_broker(self, broker: str) -> tuple[Session, ...]:
        """Return the sessions at one broker."""
        return tuple(session for key, session in self._sessions.items() if key[0] == broker)

    def instance(self, broker: str) -> bytes | None:
        """Return which run of a broker the sessions are of."""
        return self._instances.get(broker)

    def set_instance(self, broker: str, instance: bytes) -> None:
        """Remember which run of a broker the sessions are of from now on."""
        self._instances[broker] = instance
        if self._database is not None:
            key = ("broker", broker)
            note = self._share.note(broker)
            self._database.put(key, session_rows.store_instance(note, instance))

    def put(self, session: Session) -> None:
        """Add or replace a session."""
        if self._sessions.get(session.key) == session:
            return
        self._remember(session)
        if self._database is not None:
            self._database.put(("session", session.key), session_rows.store(session))

    def remove(self, broker: str, client_id: str) -> Session | None:
        """Forget a session; return it if there was one."""
        session = self._forget((broker, client_id))
        if session is not None and self._database is not None:
            key = ("session", session.key)
            self._database.put(key, session_rows.delete(broker, client_id))
        return session

    def offline(
        self, broker: str, client_id: str, epoch: int, *, kept: bool, now: float
    ) -> Session | None:
        """Take note that a connection is gone.

        Args:
            broker: Where.
            client_id: Whose.
            epoch: Which of its connections; of any other than the last admitted it is no news.
            kept: The broker may have stored the session.
            now: Unix seconds.

        Returns:
            The session as it stands now; None if nothing is left of it.
        """
        session = self.get(broker, client_id)
        if session is None or session.epoch != epoch:
            return session
        if not kept:
            self.remove(broker, client_id)
            return None
        if session.state is SessionState.ONLINE:
            session = replace(session, state=SessionState.OFFLINE, offline_since=now)
            self.put(session)
        return session

    def revoke(self, session: Session, *, now: float) -> Session:
        """Mark a session: it stays marked, however long, until its client is admitted again."""
        since = now if session.offline_since is None else session.offline_since
        revoked = replace(session, state=SessionState.REVOKED, offline_since=since)
        self.put(revoked)
        return revoked

    def evict(self, now: float) -> tuple[Session, ...]:
        """Forget stored sessions that are too old or too many, and return them.

        Marks of revoked sessions go last: forgetting one forgets that its queue is refused.
        """
        evicted = self._evict_of_owners()
        oldest = now - self._max_offline_age
        surplus = len(self._offline) + len(self._revoked) - self._max_offline
        for keys in (self._offline, self._revoked):
            for key in tuple(keys):
                since = self._sessions[key].offline_since or 0.0
                if surplus <= 0 and since > oldest:
                    break
                session = self.remove(*key)
                if session is not None:
                    evicted.append(session)
                    surplus -= 1
        return tuple(evicted)

    def _evict_of_owners(self) -> list[Session]:
        evicted: list[Session] = []
        for owner in self._crowded:
            # Sorting is stable: those that went first stay first among their like.
            keys = sorted(self._away.get(owner, ()), key=self._revoked.__contains__)
            for key in keys[: max(0, len(keys) - self._max_offline_of_owner)]:
                session = self.remove(*key)
                if session is not None:
                    evicted.append(session)
        self._crowded.clear()
        return evicted

    def flush(self) -> None:
        """Wait until the file holds everything.

        Raises:
            sqlite3.Error: The disk refuses it.
        """
        if self._database is not None:
            self._database.flush()

    def _remember(self, session: Session) -> None:
        key = session.key
        before = self._sessions.get(key)
        if before and before.owner == session.owner and before.state is session.state:
            if (before.client, before.token_id) != (session.client, session.token_id):
                self._index.remove(key, before)
                self._index.add(key, session)
            self._sessions[key] = session  # in its place among those that went
            return
        self._forget(key)
        self._sessions[key] = session
        self._counts[session.broker, session.state] += 1
        self._index.add(key, session)
        if session.state is SessionState.OFFLINE:
            self._offline[key] = None
        elif session.state is SessionState.REVOKED:
            self._revoked[key] = None
        if session.state is not SessionState.ONLINE:
            owner = (session.broker, *session.owner)
            away = self._away.setdefault(owner, {})
            away[key] = None
            if len(away) > self._max_offline_of_owner:
                self._crowded.add(owner)

    def _forget(self, key: Key) -> Session | None:
        session = self._sessions.pop(key, None)
        if session is None:
            return None
        self._counts[session.broker, session.state] -= 1
        self._index.remove(key, session)
        self._offline.pop(key, None)
        self._revoked.pop(key, None)
        owner = (session.broker, *session.owner)
        away = self._away.get(owner, {})
        away.pop(key, None)
        if not away:
            self._away.pop(owner, None)
        return session


def _is_concerned(session: Session, revocation: Revocation) -> bool:
    return session.state is not SessionState.REVOKED and revocation.concerns(
        issuer=session.issuer,
        subject=session.subject,
        client=session.client,
        token_id=session.token_id,
        issued_at=session.issued_at,
    )

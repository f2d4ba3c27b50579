# SPDX-License-Identifier: Apache-2.0
"""A revocation finds the sessions that it concerns without looking at the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keyfob.guard.audit import AuditLog
from keyfob.guard.endings import Endings
from keyfob.guard.revocations import Revocation, RevocationStore
from keyfob.guard.session import Session, SessionState
from keyfob.guard.sessions import SessionStore
from tests.guard.world import ISSUER, NOW, session

OTHER_ISSUER = "https://other.example"

# Few of each, so that names meet across brokers, issuers, subjects and what kind of name they are.
brokers = st.sampled_from(["b1", "b2"])
client_ids = st.sampled_from(["dev1", "dev2", "dev3"])
issuers = st.sampled_from([ISSUER, OTHER_ISSUER])
names = st.sampled_from(["one", "two", "three"])
times = st.sampled_from([NOW - 10, NOW, NOW + 10])
sessions_of_all_kinds = st.builds(
    session,
    client_ids,
    broker=brokers,
    state=st.sampled_from(SessionState),
    issuer=issuers,
    subject=names,
    client=st.none() | st.just("") | names,
    token_id=st.just("") | names,
    issued_at=st.none() | times,
    offline_since=st.none() | times,
)
revocations = st.builds(
    Revocation,
    issuer=issuers,
    subject=st.none() | names,
    client_id=st.none() | names,
    token_id=st.none() | names,
    issued_before=times,
    until=st.just(NOW + 100),
)


def scanned(sessions: SessionStore, revocation: Revocation) -> set[Session]:
    """Look at every session."""
    return {
        each
        for each in sessions
        if each.state is not SessionState.REVOKED
        and revocation.concerns(
            issuer=each.issuer,
            subject=each.subject,
            client=each.client,
            token_id=each.token_id,
            issued_at=each.issued_at,
        )
    }


class Indexed(RuleBasedStateMachine):
    """Sessions of all kinds come, change and go; each revocation is asked about whenever."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions = SessionStore(max_offline=2, max_offline_of_owner=1)
        self.endings = Endings(self.sessions, RevocationStore(), AuditLog(), lambda: NOW)

    @rule(arriving=sessions_of_all_kinds)
    def arrives_or_takes_a_place(self, arriving: Session) -> None:
        self.sessions.put(arriving)

    @rule(broker=brokers, client_id=client_ids, token_id=names, client=st.none() | names)
    def goes_on_with_another_token(
        self, broker: str, client_id: str, token_id: str, client: str | None
    ) -> None:
        present = self.sessions.get(broker, client_id)
        if present is not None:
            self.sessions.put(replace(present, token_id=token_id, client=client, issued_at=NOW))

    @rule(broker=brokers, client_id=client_ids, kept=st.booleans())
    def goes(self, broker: str, client_id: str, kept: bool) -> None:
        self.sessions.offline(broker, client_id, 1, kept=kept, now=NOW)

    @rule(broker=brokers, client_id=client_ids)
    def is_forgotten(self, broker: str, client_id: str) -> None:
        self.sessions.remove(broker, client_id)

    @rule()
    def too_many_are_evicted(self) -> None:
        self.sessions.evict(NOW)

    @rule(revocation=revocations)
    def is_revoked(self, revocation: Revocation) -> None:
        meant = scanned(self.sessions, revocation)
        assert set(self.sessions.concerned_by(revocation)) == meant
        assert {each.key for each in self.endings.revoke(revocation)} == {e.key for e in meant}
        assert self.sessions.concerned_by(revocation) == ()

    @invariant()
    def whatever_is_named_is_found(self) -> None:
        for each in self.sessions:
            meant = [
                Revocation(issuer=each.issuer, until=NOW, subject=each.subject),
                Revocation(issuer=each.issuer, until=NOW, client_id=each.client or "one"),
                Revocation(issuer=each.issuer, until=NOW, token_id=each.token_id or "one"),
            ]
            for revocation in meant:
                found = self.sessions.concerned_by(revocation)
                assert len(found) == len(set(found))
                assert set(found) == scanned(self.sessions, revocation)


TestIndexed = Indexed.TestCase


class Unwalked(SessionStore):
    """A store that nobody walks through."""

    def __iter__(self) -> Iterator[Session]:
        raise AssertionError("all sessions were looked at")


@pytest.mark.parametrize(
    "meant",
    [
        Revocation(issuer=ISSUER, until=NOW + 100, subject="dev1"),
        Revocation(issuer=ISSUER, until=NOW + 100, client_id="dev1"),
        Revocation(issuer=ISSUER, until=NOW + 100, token_id="jti-dev1"),
    ],
)
def test_a_revocation_with_a_name_looks_at_those_with_that_name_alone(meant: Revocation) -> None:
    sessions = Unwalked()
    sessions.put(session("dev1"))
    sessions.put(session("dev2"))
    endings = Endings(sessions, RevocationStore(), AuditLog(), lambda: NOW)
    assert [each.client_id for each in endings.revoke(meant)] == ["dev1"]

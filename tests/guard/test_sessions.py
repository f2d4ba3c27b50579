# SPDX-License-Identifier: Apache-2.0
"""Sessions are remembered, found by their owner, bounded, and there again after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.authorization.permissions import Effect, Operation, Permissions, Rule
from keyfob.errors import ConfigError
from keyfob.guard.database import Database
from keyfob.guard.revocations import Revocation
from keyfob.guard.session import Session, SessionState
from keyfob.guard.session_rows import delete, load_sessions, store
from keyfob.guard.sessions import SessionStore
from keyfob.mqtt.topics import TopicFilter
from tests.guard.world import ISSUER, NOW, session


def reopened(path: Path) -> SessionStore:
    with Database.open(path) as database:
        return SessionStore(database)


def test_a_session_is_found_by_identifier_owner_and_broker() -> None:
    sessions = SessionStore()
    first, second = session("dev1"), session("dev1", broker="b2")
    other = session("dev2")
    for each in (first, second, other):
        sessions.put(each)
    assert sessions.get("b1", "dev1") == first
    assert sessions.get("b1", "dev3") is None
    meant = Revocation(issuer=ISSUER, subject="dev1", until=NOW)
    assert {s.broker for s in sessions.concerned_by(meant)} == {"b1", "b2"}
    elsewhere = replace(meant, issuer="https://other.example")
    assert sessions.concerned_by(elsewhere) == ()
    assert {s.client_id for s in sessions.of_broker("b1")} == {"dev1", "dev2"}
    assert len(sessions) == 3


def test_a_replaced_owner_is_no_owner_any_more() -> None:
    sessions = SessionStore()
    sessions.put(session("dev1", subject="one"))
    sessions.put(session("dev1", subject="two"))
    assert sessions.concerned_by(Revocation(issuer=ISSUER, subject="one", until=NOW)) == ()
    assert len(sessions.concerned_by(Revocation(issuer=ISSUER, subject="two", until=NOW))) == 1


def test_an_offline_client_keeps_its_session_where_the_broker_may() -> None:
    sessions = SessionStore()
    sessions.put(session("dev1"))
    gone = sessions.offline("b1", "dev1", 1, kept=True, now=NOW)
    assert gone is not None
    assert (gone.state, gone.offline_since) == (SessionState.OFFLINE, NOW)
    sessions.put(session("dev1"))
    assert sessions.offline("b1", "dev1", 1, kept=False, now=NOW) is None
    assert len(sessions) == 0


@pytest.mark.parametrize("kept", [True, False])
def test_news_of_an_older_connection_is_no_news(kept: bool) -> None:
    """On a takeover the broker tells of the old connection after the new one was let in."""
    sessions = SessionStore()
    sessions.put(session("dev1", epoch=2))
    assert sessions.offline("b1", "dev1", 1, kept=kept, now=NOW) == session("dev1", epoch=2)
    assert sessions.offline("b1", "dev9", 1, kept=kept, now=NOW) is None


def test_a_mark_outlives_the_connection_but_not_the_session() -> None:
    sessions = SessionStore()
    marked = sessions.revoke(session("dev1"), now=NOW)
    assert sessions.offline("b1", "dev1", 1, kept=True, now=NOW + 5) == marked
    assert sessions.offline("b1", "dev1", 1, kept=False, now=NOW + 5) is None
    assert sessions.get("b1", "dev1") is None


def test_stored_sessions_are_evicted_by_age() -> None:
    sessions = SessionStore(max_offline_age=100.0)
    sessions.put(session("online"))
    for number in range(3):
        client_id = f"dev{number}"
        sessions.put(session(client_id))
        sessions.offline("b1", client_id, 1, kept=True, now=NOW + number)
    assert sessions.evict(NOW + 99) == ()
    assert [s.client_id for s in sessions.evict(NOW + 101)] == ["dev0", "dev1"]
    assert {s.client_id for s in sessions} == {"online", "dev2"}


def test_stored_sessions_are_evicted_by_number_the_longest_gone_first() -> None:
    sessions = SessionStore(max_offline=2)
    for number in (3, 1, 2):
        sessions.put(session(f"dev{number}"))
    for now, number in enumerate((2, 3, 1)):
        sessions.offline("b1", f"dev{number}", 1, kept=True, now=NOW + now)
    assert [s.client_id for s in sessions.evict(NOW + 10)] == ["dev2"]
    assert sessions.evict(NOW + 10) == ()


def test_marks_are_evicted_last() -> None:
    sessions = SessionStore(max_offline=1)
    sessions.revoke(session("revoked"), now=NOW)
    sessions.put(session("dev1", state=SessionState.OFFLINE, offline_since=NOW + 5))
    assert [s.client_id for s in sessions.evict(NOW + 10)] == ["dev1"]
    sessions.revoke(session("again"), now=NOW + 6)
    assert [s.client_id for s in sessions.evict(NOW + 10)] == ["revoked"]


def away(client_id: str, since: float, **changes: object) -> Session:
    state = {"state": SessionState.OFFLINE, "offline_since": since}
    return session(client_id, **{**state, **changes})


def test_who_stores_too_many_sessions_pushes_out_its_own_oldest_and_nobody_elses() -> None:
    sessions = SessionStore(max_offline=5, max_offline_of_owner=3)
    sessions.put(away("other", NOW - 500))
    sessions.put(away("elsewhere", NOW - 400, broker="b2", subject="greedy"))
    for number in range(4):
        sessions.put(away(f"greedy-{number}", NOW + number, subject="greedy"))
    sessions.put(session("greedy-online", subject="greedy"))
    assert [s.client_id for s in sessions.evict(NOW + 10)] == ["greedy-0"]
    assert sessions.evict(NOW + 10) == ()


def test_an_owners_marks_are_evicted_after_its_other_sessions() -> None:
    sessions = SessionStore(max_offline_of_owner=1)
    sessions.revoke(session("one", subject="greedy"), now=NOW)
    sessions.put(away("two", NOW + 1, subject="greedy"))
    assert [s.client_id for s in sessions.evict(NOW + 10)] == ["two"]


def test_a_session_that_came_back_or_is_gone_does_not_count_for_its_owner() -> None:
    sessions = SessionStore(max_offline_of_owner=1)
    for number in range(3):
        sessions.put(away(f"greedy-{number}", NOW + number, subject="greedy"))
    sessions.put(session("greedy-0", subject="greedy"))
    sessions.remove("b1", "greedy-1")
    assert sessions.evict(NOW + 10) == ()


def test_an_unchanged_session_keeps_its_place_among_those_that_went() -> None:
    sessions = SessionStore(max_offline=1)
    for number in range(2):
        stored = session(f"dev{number}", state=SessionState.OFFLINE, offline_since=NOW + number)
        sessions.put(stored)
    sessions.put(session("dev0", state=SessionState.OFFLINE, offline_since=NOW, epoch=0))
    assert [s.client_id for s in sessions.evict(NOW + 10)] == ["dev0"]


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    rule = Rule(
        effect=Effect.DENY,
        operations=Operation.PUBLISH | Operation.SUBSCRIBE,
        filter=TopicFilter.parse("$share/g/a/+/#"),
        literal=True,
        qos=0b101,
        retain=0b10,
    )
    online = session(
        "dev1", epoch=2**64 - 1, permissions=Permissions.first_match([rule]), clean=True
    )
    unknown = session("dev2", client=None, issued_at=None, expires_at=NOW + 0.125)
    with Database.open(path) as database:
        sessions = SessionStore(database)
        sessions.set_instance("b1", b"i" * 16)
        sessions.put(online)
        sessions.put(unknown)
        sessions.put(session("dev3"))
        sessions.remove("b1", "dev3")
        marked = sessions.revoke(session("dev4"), now=NOW)
        sessions.flush()
    again = reopened(path)
    assert set(again) == {online, unknown, marked}
    assert again.instance("b1") == b"i" * 16
    assert again.instance("b2") is None


def test_the_order_of_those_that_went_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    with Database.open(path) as database:
        sessions = SessionStore(database)
        for number in (2, 0, 1):
            sessions.put(away(f"dev{number}", NOW + number))
    with Database.open(path) as database:
        again = SessionStore(database, max_offline=1)
        assert [s.client_id for s in again.evict(NOW + 10)] == ["dev0", "dev1"]


def test_a_damaged_row_is_told_and_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    with Database.open(path) as database:
        SessionStore(database).put(session("dev1"))
        database.flush()
        broken = "UPDATE session SET permissions = x'00'"
        database.commit([lambda connection: connection.execute(broken)]).result()
    with pytest.raises(ConfigError, match="damaged session"):
        reopened(path)


filters = st.sampled_from(["a", "a/+", "#", "+/b/#", "$share/g/x/#", "$SYS/#", "ä/ö", "/", "a b"])
rules = st.builds(
    Rule,
    effect=st.sampled_from(Effect),
    operations=st.sampled_from(
        [Operation.PUBLISH, Operation.SUBSCRIBE, Operation.PUBLISH | Operation.SUBSCRIBE]
    ),
    filter=filters.map(TopicFilter.parse),
    literal=st.booleans(),
    qos=st.integers(1, 7),
    retain=st.integers(1, 3),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
sessions_of_any_kind = st.builds(
    Session,
    broker=texts,
    client_id=texts,
    epoch=st.integers(0, 2**64 - 1),
    state=st.sampled_from(SessionState),
    clean=st.booleans(),
    principal=texts,
    issuer=texts,
    subject=texts,
    client=st.none() | texts,
    token_id=texts | st.just(""),
    issued_at=st.none() | st.floats(0, 2**53),
    expires_at=st.floats(0, 2**53),
    permissions=st.lists(rules, max_size=4).map(Permissions.first_match),
    offline_since=st.none() | st.floats(0, 2**53),
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with Database.open(tmp_path_factory.mktemp("rows") / "guard.db") as opened:
        yield opened


@given(written=sessions_of_any_kind)
def test_a_row_is_the_session(written: Session, rows: Database) -> None:
    rows.put("row", store(written))
    rows.flush()
    assert list(load_sessions(rows, lambda _: True)) == [written]
    rows.put("row", delete(*written.key))
    rows.flush()
    assert list(load_sessions(rows, lambda _: True)) == []

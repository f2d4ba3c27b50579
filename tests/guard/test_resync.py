# SPDX-License-Identifier: Apache-2.0
"""Plugin and guard agree who is there, case by case."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from keyfob.errors import ProtocolError
from keyfob.guard import resync as module
from keyfob.guard.audit import AuditLog, Outcome
from keyfob.guard.guard import Guard
from keyfob.guard.resync import ResyncAnswer
from keyfob.guard.revocations import Revocation, RevocationStore
from keyfob.guard.session import (
    End,
    EndCause,
    PluginRecord,
    Replacement,
    Session,
    SessionState,
)
from keyfob.guard.sessions import SessionStore
from tests.guard.world import ISSUER, NOW, EventList, guard, permissions, record, session

OLD, NEW = b"o" * 16, b"n" * 16
ONLINE, OFFLINE, REVOKED = SessionState.ONLINE, SessionState.OFFLINE, SessionState.REVOKED


def remembering(
    *sessions: Session, revoked: str = "", **arguments: Any
) -> tuple[Guard, SessionStore]:
    """A guard that knows run OLD of the broker, these sessions, and the revocation of a subject."""
    store = SessionStore()
    store.set_instance("b1", OLD)
    for each in sessions:
        store.put(each)
    revocations = RevocationStore()
    if revoked:
        meant = Revocation(issuer=ISSUER, subject=revoked, issued_before=NOW, until=NOW + 9)
        revocations.learn([meant])
    return guard(sessions=store, revocations=revocations, **arguments), store


def linked(keeper: Guard, instance: bytes, *records: PluginRecord) -> ResyncAnswer:
    resync = keeper.begin_link("b1", instance)
    for each in records:
        resync.record(each)
    return resync.finish()


def confirmed(keeper: Guard, instance: bytes, *records: PluginRecord) -> ResyncAnswer:
    """Link, and have the plugin show that it read the answer."""
    resync = keeper.begin_link("b1", instance)
    for each in records:
        resync.record(each)
    answer = resync.finish()
    resync.confirm()
    return answer


def end(client_id: str = "dev1", epoch: int = 1, cause: EndCause = EndCause.REVOKED) -> End:
    return End(broker="b1", client_id=client_id, epoch=epoch, cause=cause)


def only(store: SessionStore) -> Session:
    (found,) = store
    return found


NOTHING = ResyncAnswer(records=(), ends=())


# The same run of the broker


def test_what_the_plugin_does_not_name_is_gone() -> None:
    keeper, store = remembering(session("dev1"), session("dev2", state=OFFLINE))
    assert linked(keeper, OLD) == NOTHING
    assert len(store) == 0


def test_other_brokers_sessions_are_nobodys_business_here() -> None:
    keeper, store = remembering(session("dev1", broker="b2"))
    linked(keeper, OLD)
    linked(keeper, NEW)
    assert only(store) == session("dev1", broker="b2")


def test_what_both_know_alike_stays_as_the_guard_knows_it() -> None:
    keeper, store = remembering(session("dev1"))
    from_the_wire = record("dev1", principal="a name of an earlier day")
    assert linked(keeper, OLD, from_the_wire) == NOTHING
    assert only(store) == session("dev1")


@pytest.mark.parametrize(
    "believed", [{"expires_at": NOW + 3599.999}, {"permissions": permissions("x")}]
)
def test_a_live_client_whose_rights_changed_while_there_was_no_link_is_told(
    believed: dict[str, Any],
) -> None:
    keeper, store = remembering(session("dev1"))
    answer = linked(keeper, OLD, record("dev1", **believed))
    assert answer == replace(NOTHING, replacements=(Replacement(session=session("dev1")),))
    assert only(store) == session("dev1")


def test_who_went_while_the_guard_was_away_is_offline_from_now_on() -> None:
    keeper, store = remembering(session("dev1"))
    assert linked(keeper, OLD, record("dev1", state=OFFLINE)) == NOTHING
    assert only(store) == session("dev1", state=OFFLINE, offline_since=NOW)


def test_who_was_offline_all_the_while_keeps_its_age() -> None:
    away = session("dev1", state=OFFLINE, offline_since=NOW - 500)
    keeper, store = remembering(away)
    linked(keeper, OLD, record("dev1", state=OFFLINE))
    assert only(store) == away


def test_whose_admission_was_lost_is_adopted_without_what_only_its_token_said() -> None:
    keeper, store = remembering(session("dev1", epoch=1))
    assert linked(keeper, OLD, record("dev1", epoch=2, token_id="jti2")) == NOTHING
    expected = session("dev1", epoch=2, token_id="jti2", issued_at=None)
    assert only(store) == expected


def test_whose_admission_was_lost_is_known_by_its_token() -> None:
    keeper, store = remembering(session("dev1", epoch=1))
    linked(keeper, OLD, record("dev1", epoch=2))
    assert only(store) == session("dev1", epoch=2)


def test_the_plugins_word_holds_for_the_owner() -> None:
    keeper, store = remembering(session("dev1", subject="one"))
    linked(keeper, OLD, record("dev1", subject="two"))
    assert only(store).owner == (ISSUER, "two")
    assert only(store).issued_at is None


def test_who_was_revoked_while_the_link_was_down_is_ended() -> None:
    for state in (ONLINE, OFFLINE):
        keeper, store = remembering(session("dev1"), revoked="dev1")
        answer = linked(keeper, OLD, record("dev1", state=state))
        assert answer == ResyncAnswer(records=(), ends=(end(),))
        assert only(store).state is REVOKED


def test_a_marked_session_is_ended_though_its_revocation_is_over() -> None:
    keeper, store = remembering(session("dev1", state=REVOKED, offline_since=NOW))
    assert linked(keeper, OLD, record("dev1")).ends == (end(),)
    assert only(store).state is REVOKED


def test_what_the_plugin_has_ended_already_is_not_ended_again() -> None:
    keeper, store = remembering(session("dev1"), revoked="dev1")
    assert linked(keeper, OLD, record("dev1", state=REVOKED)) == NOTHING
    assert only(store).state is REVOKED


def test_who_was_let_in_again_with_a_newer_token_is_not_ended() -> None:
    newer = session("dev1", issued_at=NOW + 1)
    keeper, store = remembering(newer, revoked="dev1")
    assert linked(keeper, OLD, record("dev1")) == NOTHING
    assert only(store) == newer


def test_an_unknown_time_of_issue_counts_as_before_the_revocation() -> None:
    keeper, _ = remembering(revoked="dev1")
    assert linked(keeper, OLD, record("dev1"), record("dev2")).ends == (end("dev1"),)


GONE: Any = {"issuer": "https://gone.example"}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("state", [ONLINE, OFFLINE])
def test_a_session_of_an_issuer_that_is_trusted_no_more_is_marked(
    state: SessionState, known: bool
) -> None:
    sink = EventList()
    with AuditLog([sink]) as audit:
        present = [session("dev1", **GONE)] if known else []
        keeper, store = remembering(*present, audit=audit)
        answer = linked(keeper, OLD, record("dev1", state=state, **GONE))
        again = linked(keeper, OLD, record("dev1", state=REVOKED, **GONE))
    assert answer.ends == (end("dev1"),)
    assert only(store).state is REVOKED
    assert again == NOTHING
    told = [(event.outcome, event.reason) for event in sink.events]
    assert told == [(Outcome.REVOKED, "issuer_unknown")]


# A new run of the broker


def test_stored_sessions_are_given_to_a_new_run_all_offline() -> None:
    keeper, store = remembering(
        session("dev1"), session("dev2", state=OFFLINE, offline_since=NOW - 5)
    )
    answer = confirmed(keeper, NEW)
    first = session("dev1", epoch=0, state=OFFLINE, offline_since=NOW)
    second = session("dev2", epoch=0, state=OFFLINE, offline_since=NOW - 5)
    assert answer == ResyncAnswer(records=(first, second), ends=())
    assert set(store) == {first, second}
    assert store.instance("b1") == NEW


def test_clean_sessions_ended_with_their_broker() -> None:
    keeper, store = remembering(session("dev1", clean=True))
    assert linked(keeper, NEW) == NOTHING
    assert len(store) == 0


def test_revoked_ones_are_given_as_such_and_ended() -> None:
    keeper, store = remembering(
        session("dev1"), session("dev2", state=REVOKED, offline_since=NOW), revoked="dev1"
    )
    answer = linked(keeper, NEW)
    assert [(each.client_id, each.state) for each in answer.records] == [
        ("dev1", REVOKED),
        ("dev2", REVOKED),
    ]
    assert answer.ends == (end("dev1", epoch=0), end("dev2", epoch=0))
    assert {each.state for each in store} == {REVOKED}


def test_a_guard_that_is_newer_than_the_broker_adopts_whom_it_serves() -> None:
    keeper, store = remembering()
    assert linked(keeper, NEW, record("dev1"), record("dev2", state=OFFLINE)) == NOTHING
    adopted = {each.client_id: each for each in store}
    assert adopted == {
        "dev1": session("dev1", issued_at=None),
        "dev2": session("dev2", state=OFFLINE, offline_since=NOW, issued_at=None),
    }


@pytest.mark.parametrize("client", [None, "", "dev1", "another"])
@pytest.mark.parametrize("proven", [None, "", "jwk", "jkt", "x5t#S256"])
@pytest.mark.parametrize("assigned", [False, True])
def test_a_guard_that_lost_its_file_is_told_what_a_reauthentication_is_held_to(
    client: str | None, proven: str | None, assigned: bool
) -> None:
    keeper, store = remembering()
    linked(keeper, NEW, record("dev1", client=client, proven=proven, assigned=assigned))
    adopted = only(store)
    assert (adopted.client, adopted.proven, adopted.assigned) == (client, proven, assigned)


def test_a_revocation_of_another_oauth_client_ends_no_adopted_session() -> None:
    keeper, store = remembering()
    linked(keeper, NEW, record("dev1", client="app-1"), record("dev2", client=None))
    for device in ("dev1", "dev2"):
        meant = Revocation(issuer=ISSUER, subject=device, client_id="app-2", until=NOW + 9)
        asyncio.run(keeper.revoke(meant))
    assert {each.client_id: each.state for each in store} == {"dev1": ONLINE, "dev2": REVOKED}


def test_what_the_guard_knows_of_a_key_stays_beside_the_plugins_word() -> None:
    known = session("dev1", proven="jkt:its-thumbprint", payload=b"{}")
    keeper, store = remembering(known)
    linked(keeper, NEW, record("dev1", proven="jkt"))
    assert only(store).proven == "jkt:its-thumbprint"


def test_a_sessions_epoch_of_an_old_run_is_no_proof_that_it_is_the_same() -> None:
    keeper, store = remembering(session("dev1", epoch=7, token_id="old"))
    linked(keeper, NEW, record("dev1", epoch=7, token_id="new"))
    assert (only(store).token_id, only(store).issued_at) == ("new", None)


@pytest.mark.parametrize("state", [OFFLINE, REVOKED])
def test_stored_sessions_of_an_issuer_that_is_trusted_no_more_are_given_as_marked(
    state: SessionState,
) -> None:
    away = session("dev1", state=state, offline_since=NOW, **GONE)
    keeper, store = remembering(away)
    answer = linked(keeper, NEW)
    assert [(each.client_id, each.state) for each in answer.records] == [("dev1", REVOKED)]
    assert [(each.client_id, each.cause) for each in answer.ends] == [("dev1", EndCause.REVOKED)]
    assert only(store).state is REVOKED


def test_the_run_given_to_is_known_the_next_time() -> None:
    keeper, store = remembering(session("dev1"))
    confirmed(keeper, NEW)
    assert store.instance("b1") == NEW
    assert linked(keeper, NEW, record("dev1", epoch=0, state=OFFLINE)) == NOTHING
    assert only(store).epoch == 0
    assert linked(keeper, NEW) == NOTHING
    assert len(store) == 0


# An answer that the plugin may not have read


def test_a_link_that_breaks_before_its_answer_is_read_loses_no_session() -> None:
    away = session("dev1", state=OFFLINE, offline_since=NOW)
    marked = session("dev2", state=REVOKED, offline_since=NOW)
    keeper, store = remembering(away, marked)
    first = linked(keeper, NEW)
    assert [each.client_id for each in first.records] == ["dev1", "dev2"]
    assert linked(keeper, NEW) == first
    assert set(store) == {replace(away, epoch=0), replace(marked, epoch=0)}
    assert store.instance("b1") == OLD


def test_what_was_read_before_the_link_broke_is_known_and_the_rest_is_sent_again() -> None:
    keeper, store = remembering(session("dev1", token_id=""), session("dev2"))
    linked(keeper, NEW)
    answer = linked(keeper, NEW, record("dev1", epoch=0, state=OFFLINE, token_id=""))
    assert [each.client_id for each in answer.records] == ["dev2"]
    known = store.get("b1", "dev1")
    assert known is not None
    assert (known.client, known.issued_at) == ("dev1", NOW - 10)


def test_a_mark_whose_end_was_not_read_is_kept_and_told_again() -> None:
    """Though the revocation is over: nothing but the mark still tells of it."""
    for epoch in (0, 3):
        marked = session("dev1", epoch=epoch, state=REVOKED, offline_since=NOW - 5)
        keeper, store = remembering(marked)
        answer = linked(keeper, NEW, record("dev1", epoch=epoch, state=OFFLINE))
        assert answer == ResyncAnswer(records=(), ends=(end(epoch=epoch),))
        assert only(store) == marked


def test_a_mark_of_another_owner_or_connection_is_not_kept() -> None:
    for changes in ({"subject": "other"}, {"epoch": 4}):
        keeper, store = remembering(session("dev1", epoch=3, state=REVOKED, offline_since=NOW))
        answer = linked(keeper, NEW, record("dev1", **{"epoch": 3, **changes}))
        assert answer == NOTHING
        assert only(store).state is ONLINE


def test_an_epoch_of_an_old_run_does_not_stand_in_for_a_missing_token_identifier() -> None:
    keeper, store = remembering(session("dev1", epoch=7, token_id=""))
    linked(keeper, NEW, record("dev1", epoch=7, token_id=""))
    assert only(store).issued_at is None


def test_who_goes_for_good_before_the_answer_is_known_to_be_read_is_gone() -> None:
    keeper, store = remembering()
    linked(keeper, NEW, record("dev1", epoch=7))
    keeper.offline("b1", "dev1", 7, kept=False)
    assert len(store) == 0
    assert linked(keeper, NEW) == NOTHING


# The list itself


def test_nothing_changes_before_the_list_is_complete() -> None:
    keeper, store = remembering(session("dev1"))
    resync = keeper.begin_link("b1", NEW)
    resync.record(record("dev2"))
    assert only(store) == session("dev1")
    assert store.instance("b1") == OLD


def test_a_list_that_names_a_client_twice_is_a_protocol_error() -> None:
    keeper, _ = remembering()
    resync = keeper.begin_link("b1", OLD)
    resync.record(record("dev1"))
    with pytest.raises(ProtocolError):
        resync.record(replace(record("dev1"), epoch=2))


def test_a_list_without_end_is_a_protocol_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RECORDS", 2)
    keeper, _ = remembering()
    resync = keeper.begin_link("b1", OLD)
    resync.record(record("dev1"))
    resync.record(record("dev2"))
    with pytest.raises(ProtocolError):
        resync.record(record("dev3"))


def test_a_revocation_found_while_agreeing_is_told_once() -> None:
    sink = EventList()
    with AuditLog([sink]) as audit:
        keeper, _ = remembering(session("dev1"), revoked="dev1", audit=audit)
        linked(keeper, OLD, record("dev1"))
        linked(keeper, OLD, record("dev1"))
    assert [event.outcome for event in sink.events] == [Outcome.REVOKED]

# SPDX-License-Identifier: Apache-2.0
"""Sessions that come and go, revocations that arrive, and what the audit hears."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.decision import Decision, DenyReason
from keyfob.errors import ProtocolError
from keyfob.guard.audit import AuditLog, Outcome
from keyfob.guard.database import Database
from keyfob.guard.guard import Guard
from keyfob.guard.revocations import Revocation, RevocationStore
from keyfob.guard.session import Change, End, EndCause, Session, SessionState
from keyfob.guard.sessions import SessionStore
from keyfob.tokens import base64url
from tests.guard.world import (
    ISSUER,
    KEY,
    NOW,
    Clock,
    EventList,
    guard,
    mint,
    request,
    session,
)

pytestmark = pytest.mark.anyio


def revocation(subject: str = "dev1", **changes: Any) -> Revocation:
    values: dict[str, Any] = {
        "issuer": ISSUER,
        "subject": subject,
        "issued_before": NOW,
        "until": NOW + 3600,
        "reason": "disabled",
    }
    return Revocation(**{**values, **changes})


def end(client_id: str = "dev1", epoch: int = 1, cause: EndCause = EndCause.REVOKED) -> End:
    return End(broker="b1", client_id=client_id, epoch=epoch, cause=cause)


def let_in(keeper: Guard, client_id: str = "dev1", epoch: int = 1, **changes: Any) -> Decision:
    decision = keeper.decide(request(client_id, **changes), broker="b1")
    assert decision.allowed
    assert keeper.admitted("b1", client_id, epoch, decision) is None
    return decision


# Admitting


async def test_only_what_was_admitted_is_a_session() -> None:
    sessions = SessionStore()
    keeper = guard(sessions=sessions)
    token = mint()
    claims = base64url.decode(token.split(".")[1].encode())
    decision = keeper.decide(request(token=token, clean=False), broker="b1")
    assert len(sessions) == 0
    assert keeper.admitted("b1", "dev1", 7, decision) is None
    assert sessions.get("b1", "dev1") == Session(
        broker="b1",
        client_id="dev1",
        epoch=7,
        state=SessionState.ONLINE,
        clean=False,
        principal="dev1",
        issuer=ISSUER,
        subject="dev1",
        client="dev1",
        token_id="jti-dev1",
        issued_at=NOW - 10,
        expires_at=NOW + 3600,
        permissions=decision.permissions,
        payload=claims,
        key_id=str(KEY.kid),
        proven="",
    )
    keeper.offline("b1", "dev1", 7, True)
    stored = sessions.get("b1", "dev1")
    assert stored is not None
    assert stored.state is SessionState.OFFLINE
    keeper.offline("b1", "dev1", 7, False)
    assert len(sessions) == 0


@pytest.mark.parametrize(
    ("changes", "clean"),
    [
        ({"protocol_version": 4, "clean": True}, True),
        ({"protocol_version": 4, "clean": False}, False),
        ({"protocol_version": 5, "clean": True}, False),
        ({"protocol_version": 5, "clean": False}, False),
        ({"protocol_version": 5, "clean": True, "assigned": True}, True),
    ],
)
async def test_a_session_that_may_be_stored_is_not_called_clean(
    changes: dict[str, Any], clean: bool
) -> None:
    """Clean Start of MQTT 5 does not say that nothing is kept at the end."""
    sessions = SessionStore()
    let_in(guard(sessions=sessions), **changes)
    assert [each.clean for each in sessions] == [clean]


async def test_admitting_whom_nobody_let_in_is_a_protocol_error() -> None:
    keeper = guard()
    refused = keeper.decide(request("dev2", mint("dev1")))
    allowed = keeper.decide(request("dev1"))
    for client_id, decision in (("dev2", refused), ("dev2", allowed)):
        with pytest.raises(ProtocolError):
            keeper.admitted("b1", client_id, 1, decision)


async def test_an_identifier_that_became_somebody_elses_is_given_up() -> None:
    sessions = SessionStore()
    keeper = guard(sessions=sessions)
    decision = keeper.decide(request(), broker="b1")
    other = session("dev1", subject="other", epoch=2)
    sessions.put(other)
    assert keeper.admitted("b1", "dev1", 3, decision) == end(epoch=3)
    assert sessions.get("b1", "dev1") == other


async def test_a_revocation_between_decision_and_admission_ends_the_session() -> None:
    sessions = SessionStore()
    keeper = guard(sessions=sessions)
    decision = keeper.decide(request(), broker="b1")
    assert await keeper.revoke(revocation()) == ()
    assert keeper.admitted("b1", "dev1", 1, decision) == end()
    marked = sessions.get("b1", "dev1")
    assert marked is not None
    assert marked.state is SessionState.REVOKED


# Revoking


async def test_revoking_ends_live_and_stored_sessions_and_tells_the_brokers() -> None:
    sessions = SessionStore()
    keeper = guard(sessions=sessions)
    for client_id in ("dev1", "dev2"):
        let_in(keeper, client_id)
    sessions.put(session("dev1-b", subject="dev1", state=SessionState.OFFLINE, offline_since=NOW))
    told: list[Change] = []
    unsubscribe = keeper.subscribe(told.append)
    ended = await keeper.revoke(revocation("dev1"))
    assert {each.client_id for each in ended} == {"dev1", "dev1-b"}
    assert set(told) == {end("dev1"), end("dev1-b")}
    assert {each.client_id: each.state.name for each in sessions} == {
        "dev1": "REVOKED",
        "dev1-b": "REVOKED",
        "dev2": "ONLINE",
    }
    # Once is enough, and nobody who went away is told.
    assert await keeper.revoke(revocation("dev1")) == ()
    unsubscribe()
    await keeper.revoke(revocation("dev2"))
    assert len(told) == 2


async def test_a_session_on_a_newer_token_stays() -> None:
    sessions = SessionStore()
    keeper = guard(sessions=sessions)
    let_in(keeper, token=mint(iat=int(NOW) + 1))
    assert await keeper.revoke(revocation(issued_before=NOW)) == ()


@pytest.mark.parametrize(
    "names", [{"client_id": "dev1"}, {"token_id": "jti-dev1"}, {"issued_before": NOW}]
)
async def test_sessions_are_found_by_client_token_and_time_as_well(names: dict[str, Any]) -> None:
    keeper = guard(sessions=SessionStore())
    let_in(keeper)
    meant = Revocation(issuer=ISSUER, until=NOW + 3600, **names)
    assert [each.client_id for each in await keeper.revoke(meant)] == ["dev1"]


@pytest.mark.parametrize("clean", [True, False])
async def test_a_mark_stays_until_a_newer_token_is_admitted(clean: bool) -> None:
    """Also when the revocation itself is over: what was queued meanwhile is never delivered."""
    sessions, revocations, clock = SessionStore(), RevocationStore(), Clock()
    keeper = guard(sessions=sessions, revocations=revocations, clock=clock)
    let_in(keeper, clean=False)
    await keeper.revoke(revocation())
    keeper.offline("b1", "dev1", 1, True)
    revocations.purge(NOW + 10_000)
    clock.now = NOW + 9000
    assert [each.state for each in sessions] == [SessionState.REVOKED]
    again = mint(iat=int(NOW) + 9000, exp=int(NOW) + 12_000)
    let_in(keeper, epoch=2, token=again, clean=clean)
    assert [each.state for each in sessions] == [SessionState.ONLINE]


async def test_a_revocation_is_acknowledged_when_it_is_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    with Database.open(path) as database:
        sessions = SessionStore(database)
        keeper = guard(sessions=sessions, revocations=RevocationStore(database))
        let_in(keeper)
        await keeper.revoke(revocation())
        with Database.read(path) as reader:
            seen = SessionStore(reader), RevocationStore(reader)
    assert [each.state for each in seen[0]] == [SessionState.REVOKED]
    assert [each.subject for each in seen[1]] == ["dev1"]


async def test_a_revocation_holds_even_where_the_disk_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with Database.open(tmp_path / "guard.db") as database:
        keeper = guard(revocations=RevocationStore(database))
        with monkeypatch.context() as patch:
            patch.setattr(database, "_transaction", refuse)
            with pytest.raises(sqlite3.OperationalError):
                await keeper.revoke(revocation())
        assert keeper.decide(request()).reason is DenyReason.TOKEN_REVOKED


# Audit


async def test_every_decision_is_an_event_without_any_credential() -> None:
    sink = EventList()
    with AuditLog([sink]) as audit:
        keeper = guard(audit=audit)
        token = mint()
        keeper.decide(request(token=token, peer="10.1.1.1"), broker="b1")
        keeper.decide(request("dev2", token, peer="10.1.1.2"), broker="b1")
    allowed, refused = sink.events
    assert (allowed.outcome, allowed.reason, allowed.time) == (Outcome.ALLOWED, "", NOW)
    assert (allowed.broker, allowed.client_id, allowed.principal) == ("b1", "dev1", "dev1")
    assert (allowed.token_id, allowed.expires_at) == ("jti-dev1", NOW + 3600)
    assert (refused.outcome, refused.reason) == (Outcome.REFUSED, "client_id_mismatch")
    assert (refused.client_id, refused.principal, refused.peer) == ("dev2", "dev1", "10.1.1.2")
    assert refused.explanation
    assert not any(part in repr(sink.events) for part in token.split("."))
    assert audit.counts == {
        (ISSUER, Outcome.ALLOWED, ""): 1,
        (ISSUER, Outcome.REFUSED, "client_id_mismatch"): 1,
    }


async def test_an_ended_session_is_an_event() -> None:
    sink = EventList()
    with AuditLog([sink]) as audit:
        keeper = guard(audit=audit)
        let_in(keeper)
        await keeper.revoke(revocation())
    event = sink.events[-1]
    assert (event.outcome, event.client_id) == (Outcome.REVOKED, "dev1")
    assert "disabled" in event.explanation

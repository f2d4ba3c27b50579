# SPDX-License-Identifier: Apache-2.0
"""The guard over time: keys that come late, sessions that come and go, revocations that arrive."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.decision import Decision, DenyReason
from keyfob.authorization.policy import Policy
from keyfob.errors import ConfigError, ProtocolError
from keyfob.guard.audit import AuditLog, Outcome
from keyfob.guard.backoff import Backoff
from keyfob.guard.database import Database
from keyfob.guard.guard import CLOCK_SKEW, Guard, IssuerBinding
from keyfob.guard.key_sources import COOLDOWN, HttpKeySource, StaticKeySource
from keyfob.guard.revocation_feed import RevocationFeed
from keyfob.guard.revocations import Revocation, RevocationStore
from keyfob.guard.session import End, EndCause, Session, SessionState
from keyfob.guard.sessions import SessionStore
from keyfob.mqtt.reason_codes import ReasonCode
from tests.guard.world import (
    ISSUER,
    KEY,
    NOW,
    OTHER_KEY,
    Clock,
    EventList,
    HttpServer,
    guard,
    jwks,
    key_set,
    mint,
    request,
    session,
    trusted,
    until,
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


# Keys


def keys_at(http: HttpServer, clock: Clock) -> HttpKeySource:
    quick = Backoff(base=1.0, cap=1.0, jitter=lambda _: 0.001)
    return HttpKeySource(ISSUER, jwks_uri=f"{http.url}/jwks", monotonic=clock, backoff=quick)


async def test_without_keys_a_client_is_refused_as_unavailable_and_keys_are_fetched(
    http: HttpServer, clock: Clock
) -> None:
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    keeper = guard(keys=keys)
    decision = keeper.decide(request())
    assert decision.reason is DenyReason.KEYS_UNAVAILABLE
    assert decision.reason_code is ReasonCode.SERVER_UNAVAILABLE
    await keys.first_keys()
    assert keeper.decide(request()).allowed
    await keys.aclose()


async def test_connect_waits_for_keys(http: HttpServer, clock: Clock) -> None:
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    decision = await guard(keys=keys).connect(request(), deadline=30)
    assert decision.allowed
    await keys.aclose()


async def test_connect_waits_no_longer_than_its_deadline(http: HttpServer, clock: Clock) -> None:
    let_go = asyncio.Event()

    async def stuck(_: asyncio.StreamWriter, __: str) -> None:
        await let_go.wait()

    http.routes["/jwks"] = stuck
    keys = keys_at(http, clock)
    decision = await guard(keys=keys).connect(request(), deadline=0.01)
    assert decision.reason is DenyReason.KEYS_UNAVAILABLE
    let_go.set()
    await keys.aclose()


async def test_a_rotated_key_is_fetched_when_its_first_token_comes(
    http: HttpServer, clock: Clock
) -> None:
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    keeper = guard(keys=keys)
    assert (await keeper.connect(request(), deadline=30)).allowed
    http.answer("/jwks", jwks(KEY, OTHER_KEY))
    clock.now += COOLDOWN
    rotated = request("dev2", mint("dev2", key=OTHER_KEY))
    assert (await keeper.connect(rotated, deadline=30)).allowed
    await keys.aclose()


async def test_a_key_that_even_fresh_keys_do_not_hold_is_unknown(
    http: HttpServer, clock: Clock
) -> None:
    """And asking for it again and again does not reach the issuer."""
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    keeper = guard(keys=keys)
    stranger = request(token=mint(key=OTHER_KEY))
    for _ in range(20):
        decision = await keeper.connect(stranger, deadline=30)
        assert decision.reason is DenyReason.KEY_UNKNOWN
    assert http.count("/jwks") == 1
    await keys.aclose()


async def test_an_unknown_key_is_unavailable_while_the_issuer_is_down(
    http: HttpServer, clock: Clock
) -> None:
    """It may be a new one: that must not look like a bad token."""
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    keeper = guard(keys=keys)
    assert (await keeper.connect(request(), deadline=30)).allowed
    http.answer("/jwks", b"", status=503)
    clock.now += COOLDOWN
    rotated = request("dev2", mint("dev2", key=OTHER_KEY))
    for _ in range(2):
        decision = await keeper.connect(rotated, deadline=30)
        assert decision.reason is DenyReason.KEYS_UNAVAILABLE
    assert (await keeper.connect(request(), deadline=30)).allowed
    await keys.aclose()


async def test_a_withdrawn_key_lets_nobody_in_that_it_let_in_before(
    http: HttpServer, clock: Clock
) -> None:
    http.answer("/jwks", jwks(KEY))
    keys = keys_at(http, clock)
    keeper = guard(keys=keys)
    assert (await keeper.connect(request(), deadline=30)).allowed
    http.answer("/jwks", jwks(OTHER_KEY))
    clock.now += COOLDOWN
    flight = keys.ask_again()
    assert flight is not None
    await flight
    assert keeper.decide(request()).reason is DenyReason.KEY_UNKNOWN
    await keys.aclose()


# Sessions


async def test_only_what_was_admitted_is_a_session() -> None:
    sessions = SessionStore()
    keeper = guard(sessions=sessions)
    decision = keeper.decide(request(clean=False), broker="b1")
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
    told: list[End] = []
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
    assert audit.counts == {(ISSUER, "allowed"): 1, (ISSUER, "client_id_mismatch"): 1}


async def test_an_ended_session_is_an_event() -> None:
    sink = EventList()
    with AuditLog([sink]) as audit:
        keeper = guard(audit=audit)
        let_in(keeper)
        await keeper.revoke(revocation())
    event = sink.events[-1]
    assert (event.outcome, event.client_id) == (Outcome.REVOKED, "dev1")
    assert "disabled" in event.explanation


# Running


def feed_at(http: HttpServer) -> RevocationFeed:
    quick = Backoff(base=1.0, cap=1.0, jitter=lambda _: 0.001)
    return RevocationFeed(http.url, client_id="g", client_secret="s", backoff=quick)


def page(*subjects: str, cursor: int = 1) -> str:
    rows = [
        {"cursor": 1, "subject": subject, "issued_before": NOW, "until": NOW + 3600}
        for subject in subjects
    ]
    return json.dumps({"revocations": rows, "cursor": cursor, "more": False})


def whole(http: HttpServer, clock: Callable[[], float], **arguments: Any) -> Guard:
    """A guard that gets keys and revocations from a server, as in an installation."""
    binding = IssuerBinding(
        trusted=trusted(issuer=http.url),
        keys=HttpKeySource(http.url, jwks_uri=f"{http.url}/jwks"),
        policy=Policy(),
        revocations=feed_at(http),
    )
    return Guard({http.url: binding}, clock=clock, **arguments)


async def test_it_is_ready_when_keys_and_revocations_were_read(
    http: HttpServer, clock: Clock, database: Database
) -> None:
    http.answer("/jwks", jwks(KEY))
    http.answer("/oauth2/revocations", page("dev1"))
    revocations = RevocationStore(database)
    async with whole(http, clock, revocations=revocations) as keeper:
        assert await keeper.ready(30)
        revoked = keeper.decide(request("dev1", mint("dev1", iss=http.url)))
        assert revoked.reason is DenyReason.TOKEN_REVOKED
        assert keeper.decide(request("dev2", mint("dev2", iss=http.url))).allowed
        health = keeper.health()
    assert health.keys[http.url].keys == 1
    assert health.feeds[http.url].ready
    assert (health.revocations, health.sessions, health.audit_dropped) == (1, 0, 0)
    assert revocations.cursors == {http.url: 1}


async def test_it_is_not_ready_when_either_is_missing_and_says_so(
    http: HttpServer, clock: Clock
) -> None:
    http.answer("/jwks", jwks(KEY))
    sink = EventList()
    with AuditLog([sink]) as audit:
        async with whole(http, clock, audit=audit) as keeper:
            assert not await keeper.ready(0.05)
            http.answer("/oauth2/revocations", page())
            assert await keeper.ready(30)
    assert [event.outcome for event in sink.events] == [
        Outcome.UPSTREAM_FAILED,
        Outcome.UPSTREAM_RECOVERED,
    ]
    assert "answered 404" in sink.events[0].explanation


async def test_a_feed_ends_sessions_and_tells_the_brokers(http: HttpServer, clock: Clock) -> None:
    http.answer("/jwks", jwks(KEY))
    http.answer("/oauth2/revocations", b"", status=503)
    async with whole(http, clock) as keeper:
        await keeper._issuers[http.url].keys.first_keys()
        token = mint("dev1", iss=http.url)
        decision = keeper.decide(request("dev1", token), broker="b1")
        assert keeper.admitted("b1", "dev1", 4, decision) is None
        told: list[End] = []
        keeper.subscribe(told.append)
        http.answer("/oauth2/revocations", page("dev1"))
        await until(lambda: told)
    assert told == [end(epoch=4)]


async def test_what_is_over_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyfob.guard.guard.MAINTENANCE_INTERVAL", 0.001)
    clock, revocations = Clock(), RevocationStore()
    sessions = SessionStore(max_offline_age=60)
    sessions.put(session("dev1", state=SessionState.OFFLINE, offline_since=NOW))
    sink, told = EventList(), list[End]()
    with AuditLog([sink]) as audit:
        keeper = guard(
            clock=clock,
            revocations=revocations,
            sessions=sessions,
            audit=audit,
            issuer=trusted(expiry_leeway=10),
        )
        keeper.subscribe(told.append)
        await keeper.revoke(revocation("dev2", until=NOW))
        async with keeper:
            # A token may outlive its exp by the leeway, and the issuer's clock be ahead.
            clock.now = NOW + CLOCK_SKEW + 9.9
            await until(lambda: len(sessions) == 0)
            assert len(revocations) == 1
            clock.now = NOW + CLOCK_SKEW + 10
            await until(lambda: len(revocations) == 0)
    assert told == [end(cause=EndCause.FORGOTTEN)]
    assert [event.outcome for event in sink.events] == [Outcome.FORGOTTEN]


async def test_it_stops_cleanly_whatever_is_under_way(http: HttpServer, clock: Clock) -> None:
    before = asyncio.all_tasks()

    async def stuck(_: asyncio.StreamWriter, __: str) -> None:
        await asyncio.sleep(3600)

    http.routes["/jwks"] = http.routes["/oauth2/revocations"] = stuck
    async with whole(http, clock):
        await until(lambda: len(http.requests) == 2)
    ours = {task for task in asyncio.all_tasks() - before if "HttpServer" not in repr(task)}
    assert ours == set()


async def test_a_background_task_that_ends_by_mistake_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(StaticKeySource):
        async def run(self, changed: Callable[[str], None]) -> None:
            raise RuntimeError(f"a mistake, {changed}")

    async with guard(keys=Broken(key_set(KEY))):
        await until(lambda: caplog.records)
    assert caplog.records[0].levelname == "CRITICAL"


async def test_issuers_that_do_not_fit_together_are_refused() -> None:
    binding = IssuerBinding(trusted=trusted(), keys=StaticKeySource(key_set(KEY)), policy=Policy())
    other = IssuerBinding(
        trusted=trusted(issuer="https://other.example"), keys=binding.keys, policy=Policy()
    )
    with pytest.raises(ConfigError, match="same name"):
        Guard({ISSUER: binding, "https://other.example": other})
    with pytest.raises(ConfigError, match="another iss"):
        Guard({"https://other.example": binding})
    with pytest.raises(ConfigError, match="template"):
        guard(issuer=trusted(client_id_template="{device}*"))

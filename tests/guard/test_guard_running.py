# SPDX-License-Identifier: Apache-2.0
"""The guard as a whole: ready, followed by its feeds, and stopped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from keyfob.authorization.decision import Decision, DenyReason
from keyfob.authorization.policy import Policy
from keyfob.errors import ConfigError
from keyfob.guard.audit import AuditLog, Outcome
from keyfob.guard.backoff import Backoff
from keyfob.guard.database import Database
from keyfob.guard.guard import CLOCK_SKEW, Guard, IssuerBinding
from keyfob.guard.key_sources import HttpKeySource, StaticKeySource
from keyfob.guard.revocation_feed import RevocationFeed
from keyfob.guard.revocations import Revocation, RevocationStore
from keyfob.guard.session import Change, End, EndCause, SessionState
from keyfob.guard.sessions import SessionStore
from tests.guard.world import (
    ISSUER,
    KEY,
    NOW,
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
    assert (health.cursors, health.storage_failure) == ({http.url: 1}, "")
    assert revocations.cursors == {http.url: 1}


async def test_it_is_not_ready_when_either_is_missing_and_says_so(
    http: HttpServer, clock: Clock
) -> None:
    http.answer("/jwks", jwks(KEY))
    sink = EventList()
    with AuditLog([sink]) as audit:
        async with whole(http, clock, audit=audit) as keeper:
            await until(lambda: http.count("/oauth2/revocations") >= 2)
            assert not await keeper.ready(0)
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
        await keeper._upstreams.issuers[http.url].keys.first_keys()
        token = mint("dev1", iss=http.url)
        decision = keeper.decide(request("dev1", token), broker="b1")
        assert keeper.admitted("b1", "dev1", 4, decision) is None
        told: list[Change] = []
        keeper.subscribe(told.append)
        http.answer("/oauth2/revocations", page("dev1"))
        await until(lambda: told)
    assert told == [end(epoch=4)]


async def test_what_is_over_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyfob.guard.guard.MAINTENANCE_INTERVAL", 0.001)
    clock, revocations = Clock(), RevocationStore()
    sessions = SessionStore(max_offline_age=60)
    sessions.put(session("dev1", state=SessionState.OFFLINE, offline_since=NOW))
    sink, told = EventList(), list[Change]()
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


async def test_background_work_that_fails_by_mistake_is_reported_and_begins_anew(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfob.guard.background.RESTART_INTERVAL", 0.0)
    runs: list[Callable[[str], None]] = []

    class FailsTwice(StaticKeySource):
        async def run(self, changed: Callable[[str], None]) -> None:
            runs.append(changed)
            if len(runs) < 3:
                raise RuntimeError("a mistake")

    async with guard(keys=FailsTwice(key_set(KEY))):
        await until(lambda: len(runs) == 3)
    assert [each.levelname for each in caplog.records] == ["ERROR", "ERROR"]


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

# SPDX-License-Identifier: Apache-2.0
"""The guard says whether it lives, whether it is ready, and what it counts; nothing else."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyfob.authorization.policy import Policy
from keyfob.guard.audit import AuditLog
from keyfob.guard.database import Database
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.histogram import Histogram
from keyfob.guard.http_app import guard_app
from keyfob.guard.key_sources import HttpKeySource
from keyfob.guard.metrics import GuardMetrics
from keyfob.guard.revocation_feed import RevocationFeed
from keyfob.guard.sessions import SessionStore
from keyfob.http.listen import Listen
from keyfob.http.serving import serving
from tests.guard.world import (
    ISSUER,
    KEY,
    HttpServer,
    guard,
    jwks,
    mint,
    request,
    session,
    trusted,
    until,
)

pytestmark = pytest.mark.anyio


def client(keeper: Guard, **arguments: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(guard_app(keeper.health, **arguments))
    return httpx.AsyncClient(transport=transport, base_url="http://guard")


def counting(keeper: Guard, log: AuditLog) -> GuardMetrics:
    return GuardMetrics({ISSUER: "example"}, health=keeper.health, audit=log, latency=Histogram)


async def test_a_guard_with_its_keys_is_alive_and_ready() -> None:
    async with client(guard()) as http:
        for path in ("/healthz", "/readyz"):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
            assert answer.headers["Cache-Control"] == "no-store"
            head = await http.head(path)
            assert (head.status_code, head.content) == (200, b"")


async def test_it_is_ready_once_keys_and_revocations_were_read_and_stays_so(
    http: HttpServer,
) -> None:
    keys = HttpKeySource(http.url, jwks_uri=f"{http.url}/jwks", cooldown=0.0)
    feed = RevocationFeed(http.url, client_id="guard", client_secret="s")
    issuer = trusted(issuer=http.url)
    binding = IssuerBinding(trusted=issuer, keys=keys, policy=Policy(), revocations=feed)
    keeper = Guard({http.url: binding})
    async with client(keeper) as asked, keeper:
        answer = await asked.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {
            "status": "unavailable",
            "reasons": [
                {"reason": "keys_missing", "issuer": http.url},
                {"reason": "revocations_missing", "issuer": http.url},
            ],
        }
        assert (await asked.get("/healthz")).status_code == 200
        http.answer("/jwks", jwks(KEY))
        page = {"revocations": [], "cursor": 0, "more": False}
        http.answer("/oauth2/revocations", json.dumps(page))
        assert await keeper.ready(60)
        assert (await asked.get("/readyz")).status_code == 200
        http.answer("/jwks", b"", status=500)
        flight = keys.ask_again(None)
        assert flight is not None
        await flight
        assert keeper.health().keys[http.url].failure
        assert (await asked.get("/readyz")).status_code == 200


async def test_a_file_that_does_not_follow_is_not_ready(tmp_path: Path) -> None:
    path = tmp_path / "guard.db"
    with Database.open(path) as database:
        sessions = SessionStore(database)
        keeper = guard(sessions=sessions)
        database._connection.execute("PRAGMA busy_timeout=0")
        other = sqlite3.connect(path)
        other.execute("BEGIN IMMEDIATE")
        sessions.put(session("dev1"))
        await until(lambda: database.failure)
        async with client(keeper) as http:
            answer = await http.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["reasons"] == [{"reason": "storage_failing", "issuer": ""}]
            other.rollback()
            other.close()
            await asyncio.to_thread(database.flush)
            assert (await http.get("/readyz")).status_code == 200


async def test_metrics_come_as_prometheus_reads_them() -> None:
    log = AuditLog()
    keeper = guard(audit=log)
    token = mint("dev1")
    keeper.decide(request("dev1", token), broker="b1")
    keeper.decide(request("CANARY", token, peer="192.0.2.7"), broker="b1")
    async with client(keeper, metrics=counting(keeper, log)) as http:
        answer = await http.get("/metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"
        assert 'decisions_total{issuer="example",reason="allowed"} 1.0' in answer.text
        for secret in ("CANARY", "192.0.2.7", "dev1", *token.split(".")):
            assert secret not in answer.text
        assert (await http.head("/metrics")).content == b""


async def test_other_methods_and_paths() -> None:
    keeper = guard()
    async with client(keeper) as http:
        for path in ("/healthz", "/readyz"):
            for method in ("POST", "PUT", "DELETE"):
                assert (await http.request(method, path)).status_code == 405
        for path in ("/", "/metrics", "/events", "/healthz/", "/HEALTHZ"):
            answer = await http.get(path)
            assert (answer.status_code, answer.headers["Cache-Control"]) == (404, "no-store")


async def test_when_we_fail_the_answer_tells_nothing() -> None:
    def broken() -> Any:
        raise RuntimeError("a secret of ours")

    transport = httpx.ASGITransport(guard_app(broken), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://guard") as http:
        answer = await http.get("/readyz")
        assert answer.status_code == 500
        assert "secret" not in answer.text


async def test_it_is_served_beside_the_guard_and_answers_while_it_decides() -> None:
    log = AuditLog()
    keeper = guard(audit=log)
    app = guard_app(keeper.health, metrics=counting(keeper, log))
    async with serving(app, Listen(port=0)) as server, httpx.AsyncClient() as http:
        keeper.decide(request("dev1"), broker="b1")
        answer = await http.get(f"http://127.0.0.1:{server.port}/metrics")
        assert 'decisions_total{issuer="example",reason="allowed"} 1.0' in answer.text

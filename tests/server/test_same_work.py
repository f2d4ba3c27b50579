# SPDX-License-Identifier: Apache-2.0
"""Unknown, wrong and disabled cost the same work and get the same answer, byte for byte.

Time cannot be tested on a busy machine, so the work is counted: hashes, comparisons in constant
time, statements to the database, and everything that the limits remember.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from types import FrameType
from typing import Any

import httpx
import pytest

from keyfob.server.app import create_app
from keyfob.server.limits import DEFAULT_LIMITS
from keyfob.server.limits_in_memory import InMemoryLimits
from keyfob.server.register import Register
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.connection import Cursor, Parameters
from keyfob.server.stores.postgresql.connection import PostgresqlConnection
from tests.server.world import ISSUER

pytestmark = pytest.mark.anyio

COUNTED = frozenset({"openssl_sha256", "compare_digest", "execute", "executemany"})
STATEMENTS: list[str] = []


@dataclass
class Asked:
    """What one request cost and got."""

    work: Counter[str]
    remembered: int
    status: int
    headers: list[tuple[str, str]]
    body: bytes


async def counted(action: Coroutine[Any, Any, httpx.Response]) -> tuple[Counter[str], Any]:
    """Count the calls that make up the work of a request."""
    work: Counter[str] = Counter()
    statements = len(STATEMENTS)

    def count(_: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and function.__name__ in COUNTED:
            work[function.__name__] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        answer = await action
    finally:
        sys.setprofile(before)
    if len(STATEMENTS) > statements:
        work["execute"] += len(STATEMENTS) - statements
    return work, answer


def note_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count those to PostgreSQL, too: in threads of its own, whose calls no profile here sees."""
    execute = PostgresqlConnection.execute

    def noted(self: PostgresqlConnection, sql: str, parameters: Parameters = ()) -> Cursor:
        if "FROM client" in sql:  # and not what a new connection asks, or the key ring
            STATEMENTS.append(sql)
        return execute(self, sql, parameters)

    monkeypatch.setattr(PostgresqlConnection, "execute", noted)


@pytest.fixture
async def http(
    settings: ServerSettings, register: Register, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[httpx.AsyncClient, InMemoryLimits]]:
    note_statements(monkeypatch)
    store = InMemoryLimits(DEFAULT_LIMITS, lambda: 0.0)
    app = create_app(settings, limits=store)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=ISSUER) as client,
    ):
        yield client, store


Http = tuple[httpx.AsyncClient, InMemoryLimits]


async def asked(http: Http, auth: tuple[str, str], **form: str) -> Asked:
    client, store = http
    before = store.size
    request = client.post("/oauth2/token", data=form, auth=httpx.BasicAuth(*auth))
    work, answer = await counted(request)
    headers = sorted(answer.headers.items())
    return Asked(work, store.size - before, answer.status_code, headers, answer.content)


async def test_a_client_that_is_unknown_costs_what_a_wrong_secret_costs(
    http: Http, register: Register
) -> None:
    register.add_device("there")
    register.add_device("off")
    register.disable_device("off")
    register.add_device("two-secrets")
    register.rotate_secret("two-secrets", overlap=1_000)
    register.ensure_guard_client("guard")
    await asked(http, ("warm", "x"), grant_type="client_credentials")
    found = [
        await asked(http, (name, "kfs_wrong"), grant_type="client_credentials")
        for name in ("nobody", "there", "off", "two-secrets", "guard")
    ]
    assert found[0].status == 401
    assert found[0].work == {"openssl_sha256": 2, "compare_digest": 2, "execute": 1}
    assert found[1:] == found[:1] * 4


async def test_a_device_that_is_unknown_costs_what_a_wrong_password_costs(
    http: Http, register: Register
) -> None:
    register.add_device("there")
    register.add_device("off")
    register.disable_device("off")
    register.add_device("two-secrets")
    register.rotate_secret("two-secrets", overlap=1_000)
    secret = register.add_application("gateway").secret
    assert secret is not None
    auth = ("gateway", secret)
    await asked(http, auth, grant_type="password", username="warm", password="x")
    found = [
        await asked(http, auth, grant_type="password", username=name, password="kfs_wrong")
        for name in ("nobody", "there", "off", "two-secrets", "gateway")
    ]
    assert found[0].status == 400
    assert found[0].work["openssl_sha256"] == found[0].work["compare_digest"] == 4
    assert found[1:] == found[:1] * 4

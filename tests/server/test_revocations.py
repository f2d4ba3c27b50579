# SPDX-License-Identifier: Apache-2.0
"""GET /oauth2/revocations: what guards read, and when they are woken."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest

from keyfob.server.endpoints.revocations import PAGE
from keyfob.server.stores.store import open_store
from keyfob.server.wishes import DeviceWish
from tests.server.databases import written
from tests.server.world import World

pytestmark = pytest.mark.anyio

DISABLE = (
    "import sys; from pathlib import Path; from keyfob.server.register import Register;"
    "from keyfob.server.stores.place import place_of;"
    "register = Register.open(place_of(sys.argv[1]));"
    "sys.stdin.readline(); register.disable_device(sys.argv[2]); register.close()"
)


def other_process(*arguments: str) -> subprocess.Popen[str]:
    """Start a process that waits for a line and then disables a device."""
    command = [sys.executable, "-W", "error", "-c", DISABLE, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True)


@pytest.fixture
def guard(world: World) -> httpx.BasicAuth:
    return httpx.BasicAuth("guard", world.register.ensure_guard_client("guard"))


async def read(world: World, guard: httpx.BasicAuth, **parameters: Any) -> dict[str, Any]:
    answer = await world.http.get("/oauth2/revocations", params=parameters, auth=guard)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.json()
    return document


async def test_a_guard_reads_everything_that_still_matters_in_order(
    world: World, guard: httpx.BasicAuth
) -> None:
    world.register.add_device(DeviceWish("dev1", lifetime=60))
    world.register.add_device(DeviceWish("dev2", lifetime=86_400))
    world.register.disable_device("dev1")
    world.register.remove_device("dev2")
    second = int(world.clock.now)
    document = await read(world, guard, cursor=0)
    assert document == {
        "revocations": [
            {
                "cursor": 1,
                "subject": "dev1",
                "issued_before": second,
                "until": second + 87_000,
                "reason": "disabled",
            },
            {
                "cursor": 2,
                "subject": "dev2",
                "issued_before": second,
                "until": second + 87_000,
                "reason": "removed",
            },
        ],
        "cursor": 2,
        "more": False,
    }
    world.clock.now += 3_600
    world.register.add_device("dev3")
    world.register.disable_device("dev3")
    world.clock.now += 84_000
    document = await read(world, guard)
    assert [row["subject"] for row in document["revocations"]] == ["dev3"]


async def test_a_cursor_asks_for_what_came_after_it(world: World, guard: httpx.BasicAuth) -> None:
    world.register.add_device("dev1")
    world.register.disable_device("dev1")
    cursor = (await read(world, guard))["cursor"]
    assert await read(world, guard, cursor=cursor) == {
        "revocations": [],
        "cursor": cursor,
        "more": False,
    }
    world.register.disable_device("dev1")
    document = await read(world, guard, cursor=cursor)
    assert [row["cursor"] for row in document["revocations"]] == [cursor + 1]


async def test_a_long_list_comes_in_pages_that_miss_nothing(
    world: World, guard: httpx.BasicAuth
) -> None:
    store = open_store(world.settings.database)
    total = 2 * PAGE + 1
    with store.transaction():
        for number in range(total):
            store.revoke(f"dev{number}", issued_before=1, until=2**40, reason="disabled", now=0)
    store.close()
    seen: list[str] = []
    sizes, cursor, more = [], 0, True
    while more:
        document = await read(world, guard, cursor=cursor, wait=30)
        seen += [row["subject"] for row in document["revocations"]]
        sizes.append(len(document["revocations"]))
        cursor, more = document["cursor"], document["more"]
    assert sizes == [PAGE, PAGE, 1]
    assert seen == [f"dev{number}" for number in range(total)]


async def test_a_cursor_that_was_never_given_out_starts_over(
    world: World, guard: httpx.BasicAuth
) -> None:
    """A database restored from a copy must not leave guards waiting for its cursor to return."""
    assert await read(world, guard, cursor=50, wait=30) == {
        "revocations": [],
        "cursor": 0,
        "more": False,
    }
    world.register.add_device("dev1")
    world.register.disable_device("dev1")
    document = await read(world, guard, cursor=50, wait=30)
    assert [row["subject"] for row in document["revocations"]] == ["dev1"]
    assert document["cursor"] == 1


async def test_a_waiting_guard_is_woken_by_another_process(
    world: World, guard: httpx.BasicAuth
) -> None:
    world.clock.now = time.time()  # as in the other process
    world.register.add_device("dev1")
    process = other_process(written(world.settings.database), "dev1")
    waiting = asyncio.create_task(read(world, guard, cursor=0, wait=30))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await asyncio.to_thread(process.communicate, "go\n")
    assert process.returncode == 0
    document = await asyncio.wait_for(waiting, 10)
    assert [row["subject"] for row in document["revocations"]] == ["dev1"]


async def test_a_change_that_is_no_revocation_wakes_nobody(
    world: World, guard: httpx.BasicAuth
) -> None:
    waiting = asyncio.create_task(read(world, guard, wait=30))
    await asyncio.sleep(0.15)
    world.register.add_device("dev1")
    await asyncio.sleep(0.3)
    assert not waiting.done()
    world.register.disable_device("dev1")
    assert len((await asyncio.wait_for(waiting, 10))["revocations"]) == 1


async def test_the_time_is_up_with_the_same_cursor(world: World, guard: httpx.BasicAuth) -> None:
    assert await read(world, guard, wait=0.2) == {"revocations": [], "cursor": 0, "more": False}


async def test_only_a_guard_may_read(world: World, guard: httpx.BasicAuth) -> None:
    device = world.register.add_device("dev1")
    application = world.register.add_application("app1")
    for name, secret, status in (
        ("guard", "kfs_wrong", 401),
        ("nobody", "kfs_wrong", 401),
        ("dev1", device.secret, 403),
        ("app1", application.secret or "", 403),
    ):
        answer = await world.http.get("/oauth2/revocations", auth=httpx.BasicAuth(name, secret))
        assert answer.status_code == status
        assert ("www-authenticate" in answer.headers) == (status == 401)
    answer = await world.http.get("/oauth2/revocations")
    assert answer.status_code == 401
    world.register.remove_guard_client("guard")
    answer = await world.http.get("/oauth2/revocations", auth=guard)
    assert answer.status_code == 401


async def test_credentials_in_the_url_do_not_count(world: World) -> None:
    secret = world.register.ensure_guard_client("guard")
    answer = await world.http.get(
        "/oauth2/revocations", params={"client_id": "guard", "client_secret": secret}
    )
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "query",
    [
        "cursor=-1",
        "cursor=1.5",
        "cursor=x",
        "cursor=٣",
        "cursor=9223372036854775808",
        "cursor=1&cursor=2",
        "wait=-1",
        "wait=x",
        "wait=nan",
        "wait=inf",
        "wait=1e999",
    ],
)
async def test_a_question_that_makes_no_sense_is_an_invalid_request(
    world: World, guard: httpx.BasicAuth, query: str
) -> None:
    answer = await world.http.get(f"/oauth2/revocations?{query}", auth=guard)
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"


async def test_everybody_waiting_goes_home_when_the_server_stops(
    world: World, guard: httpx.BasicAuth
) -> None:
    transport = world.http._transport
    assert isinstance(transport, httpx.ASGITransport)
    waiting = [asyncio.create_task(read(world, guard, wait=30)) for _ in range(3)]
    await asyncio.sleep(0.15)
    transport.app.state.stopping.set()  # type: ignore[attr-defined]
    for document in await asyncio.wait_for(asyncio.gather(*waiting), 10):
        assert document["revocations"] == []


async def test_the_operator_is_told_of_each_refusal_and_of_no_reading(
    world: World, guard: httpx.BasicAuth
) -> None:
    device = world.register.add_device("dev1")
    await read(world, guard)
    for name, secret in (
        ("guard", "kfs_wrong"),
        ("dev1", device.secret),
        (device.secret, "dev1"),  # the fields exchanged by mistake
    ):
        await world.http.get("/oauth2/revocations", auth=httpx.BasicAuth(name, secret))
    await world.http.get("/oauth2/revocations?wait=x", auth=guard)
    await world.http.get("/oauth2/revocations")
    told = [(event.client_id, event.error, event.reason) for event in world.events]
    assert told == [
        ("guard", "invalid_client", "secret_wrong"),
        ("dev1", "insufficient_scope", "not_a_guard"),
        ("?", "invalid_client", "client_unknown"),
        ("guard", "invalid_request", "wait_invalid"),
        ("", "invalid_client", "credentials_missing"),
    ]
    assert {(event.request, event.outcome) for event in world.events} == {
        ("revocations", "refused")
    }
    assert device.secret not in repr(world.events)

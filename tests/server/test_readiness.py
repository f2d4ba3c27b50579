# SPDX-License-Identifier: Apache-2.0
"""Ready means: what issuing a token takes is there, now; alive means only that it answers."""

from __future__ import annotations

import asyncio

import pytest

from keyfob.errors import UpstreamError
from keyfob.server.readiness import Readiness
from keyfob.server.stores.place import Place
from keyfob.server.stores.readiness import StoredReadiness
from keyfob.server.stores.reads import make_reads
from keyfob.server.stores.store import open_store
from keyfob.server.stores.writer import Writer
from tests.server.databases import connected, impatient
from tests.server.refreshing import rotate_beyond_reach
from tests.server.world import World

pytestmark = pytest.mark.anyio


async def test_a_server_that_can_issue_is_ready(world: World) -> None:
    for path in ("/readyz", "/healthz"):
        answer = await world.http.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert answer.headers["cache-control"] == "no-store"


async def test_a_register_without_a_key_is_not_ready_and_still_alive(
    world: World, database: Place
) -> None:
    with connected(database) as connection:
        connection.execute("DELETE FROM signing_key")
    answer = await world.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "reasons": ["signing_key_missing"]}
    assert answer.headers["retry-after"] == "5"
    assert (await world.http.get("/healthz")).status_code == 200


async def test_a_register_that_others_keep_locked_is_not_ready(database: Place) -> None:
    store, writer = open_store(database), Writer(database, most=1)
    reads = make_reads(database, store)
    tested = Readiness(StoredReadiness(reads, writer), lambda: True, asyncio.Event(), lambda: 0.0)
    await writer.run(impatient)  # its one thread does all that follows
    with store.transaction():
        assert await tested.faults() == ("signing_key_missing", "register_unwritable")
    reads.close()
    writer.close()
    store.close()


async def test_a_register_that_is_closed_is_told_as_such(database: Place) -> None:
    store, writer = open_store(database), Writer(database)
    reads = make_reads(database, store)
    writer.close()
    reads.close()
    store.close()
    tested = Readiness(StoredReadiness(reads, writer), lambda: True, asyncio.Event(), lambda: 0.0)
    assert await tested.faults() == ("register_unreadable", "register_unwritable")


class Register:
    """Counts who looks into it."""

    looks = 0
    broken = False

    async def has_signing_key(self) -> bool:
        return True

    async def write_probe(self) -> None:
        self.looks += 1
        await asyncio.sleep(0)
        if self.broken:
            raise UpstreamError("the disk is full")


async def test_however_often_somebody_asks_it_is_written_once_in_five_seconds() -> None:
    now, register = [0.0], Register()
    tested = Readiness(register, lambda: True, asyncio.Event(), lambda: now[0])
    assert await asyncio.gather(*(tested.faults() for _ in range(50))) == [()] * 50
    assert register.looks == 1
    register.broken, now[0] = True, 4.9
    assert await tested.faults() == ()
    now[0] = 5.0
    assert await tested.faults() == ("register_unwritable",)
    assert register.looks == 2


async def test_those_who_wait_for_a_slow_look_make_no_look_of_their_own() -> None:
    now = [0.0]

    class Slow(Register):
        async def write_probe(self) -> None:
            now[0] += 6.0  # as long as a locked register takes
            await super().write_probe()

    slow = Slow()
    tested = Readiness(slow, lambda: True, asyncio.Event(), lambda: now[0])
    await asyncio.gather(*(tested.faults() for _ in range(4)))
    assert slow.looks == 1


async def test_a_process_that_cannot_read_the_key_that_signs_is_not_ready(world: World) -> None:
    await rotate_beyond_reach(world)
    answer = await world.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["signing_key_unreadable"]


async def test_a_server_that_stops_is_not_ready_at_once() -> None:
    stopping = asyncio.Event()
    tested = Readiness(Register(), lambda: True, stopping, lambda: 0.0)
    assert await tested.faults() == ()
    stopping.set()
    assert await tested.faults() == ("stopping",)

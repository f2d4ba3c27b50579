# SPDX-License-Identifier: Apache-2.0
"""A lead and its workers, over a real socket: no worker misses a revocation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keyfob.errors import ProtocolError, UpstreamError
from keyfob.guard.database import Database
from keyfob.guard.lead import Lead
from keyfob.guard.lead_messages import Ask, write
from keyfob.guard.revocations import FeedPosition, Revocation, RevocationStore
from keyfob.guard.worker_link import WorkerLink
from tests.guard.world import ISSUER, NOW, until

pytestmark = pytest.mark.anyio


def revocation(subject: str) -> Revocation:
    return Revocation(issuer=ISSUER, subject=subject, issued_before=NOW, until=NOW + 9)


class Worker:
    """What a worker's process does, without the process."""

    def __init__(self, link: WorkerLink) -> None:
        self.link = link
        self.learned = [each.subject for each in link.first]
        self.hold = asyncio.Event()
        self.hold.set()
        self.task = asyncio.create_task(link.run(self.learn, {"who": self.who}))

    async def learn(self, *revocations: Revocation) -> None:
        await self.hold.wait()
        self.learned += [each.subject for each in revocations]

    async def who(self) -> dict[str, int]:
        await self.hold.wait()
        return {"learned": len(self.learned)}


class World:
    """A lead behind a socket."""

    def __init__(self, folder: Path, database: Database, **arguments: Any) -> None:
        self.path = folder / "lead.sock"
        self.revocations = RevocationStore(database)
        self.stuck: list[int] = []
        self.lead = Lead(self.revocations, stuck=self.stuck.append, **arguments)
        self.workers: list[Worker] = []

    async def worker(self, number: int = 0) -> Worker:
        worker = Worker(await WorkerLink.join(self.path, number))
        self.workers.append(worker)
        await until(
            lambda: any(link.worker == number and link.listens for link in self.lead._links)
        )
        return worker


@asynccontextmanager
async def world(folder: Path, **arguments: Any) -> AsyncIterator[World]:
    with Database.open(folder / "guard.db") as database:
        made = World(folder, database, **arguments)
        async with await asyncio.start_unix_server(made.lead.serve, made.path):
            yield made
            made.lead.close()
            for worker in made.workers:
                worker.hold.set()
                await asyncio.gather(worker.task, return_exceptions=True)
            await until(lambda: made.lead.workers == ())


async def test_a_revocation_is_acknowledged_when_every_worker_has_it(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        workers = [await here.worker(number) for number in range(3)]
        workers[1].hold.clear()
        revoking = asyncio.create_task(here.lead.revoke(revocation("dev1")))
        await until(lambda: workers[0].learned and workers[2].learned)
        assert not revoking.done()
        workers[1].hold.set()
        await revoking
        assert [each.learned for each in workers] == [["dev1"]] * 3


async def test_one_that_is_said_again_is_not_acknowledged_before_the_first(tmp_path: Path) -> None:
    """A transmitter that gave up waiting sends its event again; no worker may lack it then."""
    async with world(tmp_path) as here:
        worker = await here.worker()
        worker.hold.clear()
        first = asyncio.create_task(here.lead.revoke(revocation("dev1")))
        await until(lambda: here.revocations.unsaved == () and len(here.revocations) == 1)
        again = asyncio.create_task(here.lead.revoke(revocation("dev1")))
        await asyncio.sleep(0.05)
        assert not again.done()
        worker.hold.set()
        await asyncio.gather(first, again)
        assert worker.learned == ["dev1"]


async def test_it_is_on_the_disk_as_well(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        await here.worker()
        await here.lead.learn([revocation("dev1")], FeedPosition(issuer=ISSUER, cursor=7))
        with Database.read(tmp_path / "guard.db") as database:
            stored = RevocationStore(database, writes=False)
        assert [each.subject for each in stored] == ["dev1"]
        assert stored.cursors == {ISSUER: 7}


async def test_who_joins_while_one_is_being_written_is_given_it(tmp_path: Path) -> None:
    """And whatever was written before is in the file, which is read after joining."""
    async with world(tmp_path) as here:
        here.revocations.learn([revocation("dev1")])  # in force, and not on the disk yet
        worker = await here.worker()
        assert worker.learned == ["dev1"]


async def test_what_is_known_already_is_not_told_again(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        worker = await here.worker()
        for _ in range(2):
            await here.lead.revoke(revocation("dev1"))
        assert worker.learned == ["dev1"]


async def test_a_worker_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    async with world(tmp_path, timeout=0.05) as here:
        good, bad = await here.worker(0), await here.worker(1)
        bad.hold.clear()
        await here.lead.revoke(revocation("dev1"))
        assert here.stuck == [1]
        assert here.lead.workers == (0,)
        assert good.learned == ["dev1"]


async def test_a_worker_that_still_reads_its_files_is_not_stuck_and_misses_nothing(
    tmp_path: Path,
) -> None:
    """A hundred thousand sessions take longer to read than an answer may."""
    async with world(tmp_path, timeout=0.02) as made:
        link = await WorkerLink.join(made.path, 3)
        await until(lambda: made.lead.workers == (3,))
        await made.lead.revoke(revocation("a"))
        await asyncio.sleep(0.05)
        assert made.stuck == []
        worker = Worker(link)
        made.workers.append(worker)
        await until(lambda: worker.learned == ["a"])
        worker.hold.clear()
        await made.lead.revoke(revocation("b"))
        assert made.stuck == [3]


async def test_a_worker_that_dies_holds_nothing_up(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        worker = await here.worker()
        worker.hold.clear()
        revoking = asyncio.create_task(here.lead.revoke(revocation("dev1")))
        await asyncio.sleep(0.01)
        worker.task.cancel()
        await revoking
        await until(lambda: here.lead.workers == ())
        assert here.stuck == []


async def test_a_worker_whose_lead_is_gone_stops(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        worker = await here.worker()
        here.lead.close()
        await worker.task


async def test_readiness_reaches_who_is_there_and_who_comes(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        early = await here.worker(0)
        assert not early.link.ready.is_set()
        here.lead.become_ready()
        late = await here.worker(1)
        await early.link.ready.wait()
        await late.link.ready.wait()


async def test_questions_are_answered_by_all_who_are_in_time(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        slow = await here.worker(0)
        await here.worker(1)
        slow.hold.clear()
        answers = await here.lead.ask("who", timeout=0.05)
        assert {n: msgspec.msgpack.decode(a) for n, a in answers.items()} == {1: {"learned": 0}}
        assert here.stuck == []
        slow.hold.set()


async def test_an_answer_that_takes_its_time_holds_no_revocation_up(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        worker = await here.worker()
        worker.hold.clear()
        asking = asyncio.create_task(here.lead.ask("who", timeout=30))
        await asyncio.sleep(0.01)
        revoking = asyncio.create_task(here.lead.revoke(revocation("dev1")))
        await asyncio.sleep(0.01)
        worker.hold.set()
        await revoking
        assert len(await asking) == 1


async def test_without_a_lead_no_worker_begins(tmp_path: Path) -> None:
    with pytest.raises(UpstreamError, match="no lead"):
        await WorkerLink.join(tmp_path / "nobody.sock", 0)


async def test_who_does_not_speak_as_a_worker_is_turned_away(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        for first in (b"\xff\xff\xff\xff", b"\0\0\0\1\xc1", b""):
            reader, writer = await asyncio.open_unix_connection(here.path)
            writer.write(first)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        reader, writer = await asyncio.open_unix_connection(here.path)
        write(writer, Ask(1, "who"))
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert here.lead.workers == ()


async def test_a_lead_that_is_none_is_recognised(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    path = tmp_path / "echo.sock"
    async with await asyncio.start_unix_server(echo, path):
        with pytest.raises(ProtocolError, match="no lead"):
            await WorkerLink.join(path, 0)

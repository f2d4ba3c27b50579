# SPDX-License-Identifier: Apache-2.0
"""The store of used assertions: one of many is the first, and it does not grow for ever."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from keyfob.server.stores.place import Place
from keyfob.server.stores.store import open_store
from keyfob.server.stores.used_assertions import StoredUsedAssertions
from keyfob.server.stores.writer import Writer
from tests.server.databases import rows, written

pytestmark = pytest.mark.anyio


@pytest.fixture
async def used(database: Place) -> AsyncIterator[StoredUsedAssertions]:
    open_store(database).close()
    writer = Writer(database)
    yield StoredUsedAssertions(writer)
    writer.close()


def count(database: Place) -> int:
    ((number,),) = rows(database, "SELECT count(*) FROM used_assertion")
    return int(number)


async def test_the_first_use_is_one_and_every_other_is_none(used: StoredUsedAssertions) -> None:
    uses = [used.insert_if_absent("dev1", b"a", until=100, now=0) for _ in range(20)]
    assert sorted(await asyncio.gather(*uses)) == [False] * 19 + [True]
    assert await used.insert_if_absent("dev2", b"a", until=100, now=0)
    assert await used.insert_if_absent("dev1", b"b", until=100, now=0)


async def test_what_is_over_is_removed_soon_and_not_all_at_once(
    used: StoredUsedAssertions, database: Place
) -> None:
    store = open_store(database)
    with store.transaction():
        store.connection.executemany(
            "INSERT INTO used_assertion VALUES ('dev1', ?, ?)",
            [(number.to_bytes(4, "big"), 50) for number in range(250)],
        )
    store.close()
    left = []
    for number in range(4):
        await used.insert_if_absent("dev2", bytes([number]), until=100, now=60)
        left.append(count(database))
    assert left == [151, 52, 3, 4]


async def test_what_is_not_over_stays(used: StoredUsedAssertions) -> None:
    assert await used.insert_if_absent("dev1", b"a", until=100, now=0)
    assert not await used.insert_if_absent("dev1", b"a", until=100, now=99)
    assert await used.insert_if_absent("dev1", b"a", until=200, now=100)


_CODE = """
import asyncio, sys
from keyfob.server.stores.place import place_of
from keyfob.server.stores.used_assertions import StoredUsedAssertions
from keyfob.server.stores.writer import Writer

async def main():
    writer = Writer(place_of(sys.argv[1]))
    used = StoredUsedAssertions(writer)
    sys.stdin.readline()
    first = [await used.insert_if_absent("dev1", b"%d" % n, until=100, now=0) for n in range(50)]
    writer.close()
    print(sum(first))

asyncio.run(main())
"""


def test_of_several_processes_one_is_the_first(database: Place) -> None:
    open_store(database).close()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _CODE, written(database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    firsts = [int(process.communicate()[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(firsts) == 50
    assert count(database) == 50

# SPDX-License-Identifier: Apache-2.0
"""Several servers on one database pace polls, and count wrong user codes, as one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.server.device_limits import WRONG_AT_ONCE, PollTimesInMemory
from keyfob.server.stores.place import PostgresqlUrl
from keyfob.server.stores.postgresql.device_limits import (
    PostgresqlPollTimes,
    PostgresqlWrongCodes,
)
from keyfob.server.stores.reads import InLoop, InThreads
from keyfob.server.stores.store import Store, open_store
from tests.server.databases import rows

CODE = bytes(32)


@pytest.fixture
def store(url: PostgresqlUrl) -> Iterator[Store]:
    store = open_store(url)
    yield store
    store.close()


POLLS = st.lists(st.tuples(st.sampled_from([b"a" * 32, b"b" * 32]), st.integers(0, 9)), max_size=20)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(POLLS)
def test_several_servers_know_the_last_poll_as_one_does(
    store: Store, polls: list[tuple[bytes, int]]
) -> None:
    store.connection.execute("DELETE FROM device_poll")
    model = PollTimesInMemory()
    servers = [PostgresqlPollTimes(InLoop(store)) for _ in range(3)]

    async def run() -> None:
        now = 1_000.0
        for number, (code, passed) in enumerate(polls):
            now += passed
            expected = await model.polled(code, now)
            assert await servers[number % 3].polled(code, now) == expected

    asyncio.run(run())


@pytest.mark.anyio
async def test_of_polls_at_once_at_two_servers_one_is_the_first(url: PostgresqlUrl) -> None:
    reads = [InThreads(url), InThreads(url)]
    servers = [PostgresqlPollTimes(each) for each in reads]
    found = await asyncio.gather(
        *(servers[number % 2].polled(CODE, 1_000.0 + number) for number in range(60))
    )
    assert found.count(None) == 1
    assert len(set(found)) == 60  # each is after another one
    for each in reads:
        each.close()


@pytest.mark.anyio
async def test_a_poll_that_says_nothing_any_more_is_forgotten(store: Store) -> None:
    polls = PostgresqlPollTimes(InLoop(store))
    await polls.polled(b"old", 1_000.0)
    await polls.polled(b"new", 1_590.0)
    assert await polls.polled(b"newer", 1_601.0) is None
    kept = store.connection.execute("SELECT code_hash FROM device_poll ORDER BY at").fetchall()
    assert [row[0] for row in kept] == [b"new", b"newer"]


@pytest.mark.anyio
async def test_wrong_codes_are_counted_by_all_servers_together(url: PostgresqlUrl) -> None:
    reads = [InThreads(url), InThreads(url)]
    servers = [PostgresqlWrongCodes(each) for each in reads]
    assert [await each.wait() for each in servers] == [0, 0]
    # As many more as may come back while this runs.
    for number in range(4 * WRONG_AT_ONCE):
        await servers[number % 2].take()
    left = rows(url, "SELECT remaining < 1, most FROM allowance WHERE kind = 'codes'")
    assert left == [(True, float(WRONG_AT_ONCE))]
    for each in reads:
        each.close()


def test_nothing_of_it_waits_for_the_disk(url: PostgresqlUrl) -> None:
    assert rows(url, "SELECT relpersistence FROM pg_class WHERE relname = 'device_poll'") == [
        ("u",)
    ]


def test_pages_of_registration_tokens_are_in_the_order_of_bytes(url: PostgresqlUrl) -> None:
    """Whatever the database's locale: it is the column's own order, and its index's."""
    found = rows(
        url,
        "SELECT table_name, collation_name FROM information_schema.columns"
        " WHERE column_name = 'name' AND table_name IN ('registration_token', 'operator_account')"
        " ORDER BY table_name",
    )
    assert found == [("operator_account", "C"), ("registration_token", "C")]

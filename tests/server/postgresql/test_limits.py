# SPDX-License-Identifier: Apache-2.0
"""Limits in the database are those in memory, for any number of servers together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.errors import UpstreamError
from keyfob.server.clients import ClientKind
from keyfob.server.limits import LimitSettings, Refusal
from keyfob.server.limits_in_memory import InMemoryLimits
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.stores.place import PostgresqlUrl
from keyfob.server.stores.postgresql.limits import PostgresqlLimits
from keyfob.server.stores.reads import InLoop, InThreads
from keyfob.server.stores.store import Store, open_store
from tests.server.databases import rows

T = TypeVar("T")
FEW = LimitSettings(
    client_burst=3,
    client_rate=0.5,
    service_burst=5,
    service_rate=1.0,
    address_burst=6,
    address_rate=1.0,
    failure_burst=2,
    failure_rate=0.25,
    address_failure_burst=4,
    address_failure_rate=0.5,
)


@pytest.fixture
def store(url: PostgresqlUrl) -> Iterator[Store]:
    store = open_store(url)
    yield store
    store.close()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "proven", "failed", "nameless", "wait"]),
        st.sampled_from(["dev1", "dev2", "?"]),
        st.sampled_from(["192.0.2.1", "2001:db8::/64"]),
        st.sampled_from(list(ClientKind)),
    ),
    max_size=60,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(STEPS)
def test_several_servers_on_a_database_count_as_one_does_in_its_memory(
    store: Store, steps: list[tuple[str, str, str, ClientKind]]
) -> None:
    """Whatever was asked of which of them: the same refusals, for the same reasons and as long."""
    store.connection.execute("DELETE FROM allowance")
    now = [1_000.0]
    model = InMemoryLimits(FEW, lambda: now[0])
    servers = [PostgresqlLimits(FEW, InLoop(store), lambda: now[0]) for _ in range(3)]

    async def run() -> None:
        for place, (what, name, network, kind) in enumerate(steps):
            server = servers[place % 3]
            found: list[Refusal | None] = []
            for each in (model, server):
                match what:
                    case "admit":
                        found.append(await each.admit(name, network))
                    case "proven":
                        await each.proven(name, network, kind)
                    case "failed":
                        await each.failed(name, network)
                    case "nameless":
                        found.append(await each.nameless(network))
            if what == "wait":
                now[0] += 0.75 * (place % 7)
            if found:
                expected, got = found
                assert (expected is None) == (got is None)
                if expected is not None and got is not None:
                    assert got.reason == expected.reason
                    assert got.seconds == pytest.approx(expected.seconds)

    asyncio.run(run())


@pytest.mark.anyio
async def test_of_many_at_once_at_two_servers_as_many_get_in_as_may(url: PostgresqlUrl) -> None:
    made = LimitSettings(address_burst=50, address_rate=0.000_001)
    reads = [InThreads(url), InThreads(url)]
    servers = [PostgresqlLimits(made, each) for each in reads]
    tried = await asyncio.gather(
        *(servers[number % 2].admit(f"dev{number}", "192.0.2.1") for number in range(200))
    )
    assert sum(refusal is None for refusal in tried) == 50
    for each in reads:
        each.close()


@pytest.mark.anyio
async def test_what_is_kept_is_bounded_and_who_was_seen_last_stays_known(store: Store) -> None:
    now = [0.0]
    made = LimitSettings(tracked=10)
    limits = PostgresqlLimits(made, InLoop(store), lambda: now[0])
    for number in range(40):
        now[0] += 1
        await limits.proven(f"dev{number}", "192.0.2.1", ClientKind.DEVICE)
        await limits.failed(f"bad{number}", f"192.0.2.{number}")
        await limits.admit(f"new{number}", f"198.51.100.{number}")
    await limits.trim()
    kinds = dict(rows_of(store, "SELECT kind, count(*) FROM allowance GROUP BY kind"))
    # A request of one network is given back within a second: such a row says nothing any more.
    assert kinds.pop("requests", 0) <= 10
    assert kinds == {"known": 10, "failures": 10, "mistakes": 1} | {"mistakes": kinds["mistakes"]}
    assert kinds["mistakes"] <= 10
    known = {row[0] for row in rows_of(store, "SELECT whom FROM allowance WHERE kind = 'known'")}
    assert known == {f"dev{number} 192.0.2.1" for number in range(30, 40)}


def rows_of(store: Store, statement: str) -> list[tuple[str, int]]:
    return store.connection.execute(statement).fetchall()


@pytest.mark.anyio
async def test_counting_costs_no_flush_of_the_disk_and_one_statement(url: PostgresqlUrl) -> None:
    assert rows(url, "SELECT relpersistence FROM pg_class WHERE relname = 'allowance'") == [("u",)]
    asked: list[str] = []

    class Counted(InThreads):
        async def run(self, work: Callable[[Store], T]) -> T:
            asked.append("once")
            return await super().run(work)

    reads = Counted(url)
    limits = PostgresqlLimits(FEW, reads)
    await limits.admit("dev1", "192.0.2.1")
    await limits.proven("dev1", "192.0.2.1", ClientKind.DEVICE)
    asked.clear()
    await limits.admit("dev1", "192.0.2.1")
    await limits.proven("dev1", "192.0.2.1", ClientKind.DEVICE)
    assert len(asked) == 1
    reads.close()


@pytest.mark.anyio
async def test_where_nothing_can_be_counted_nobody_is_let_in(store: Store) -> None:
    class Away(InLoop):
        async def run(self, _: Callable[[Store], T]) -> T:
            raise UpstreamError("gone")

    limits = PostgresqlLimits(FEW, Away(store))
    with pytest.raises(OAuthError, match="store_unavailable"):
        await limits.admit("dev1", "192.0.2.1")

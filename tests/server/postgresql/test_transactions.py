# SPDX-License-Identifier: Apache-2.0
"""Writers exclude each other as far as they have to, and a cursor never overtakes another."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from keyfob.errors import UpstreamError
from keyfob.server.stores.connection import TryAgainError
from keyfob.server.stores.place import PostgresqlUrl
from keyfob.server.stores.reads import InThreads
from keyfob.server.stores.store import Store, open_store
from keyfob.server.stores.writer import Writer
from tests.server.databases import impatient, rows


@pytest.fixture
def pair(url: PostgresqlUrl) -> Iterator[tuple[Store, Store]]:
    one, two = open_store(url), open_store(url)
    impatient(two)
    yield one, two
    one.close()
    two.close()


@pytest.mark.parametrize(
    ("first", "second", "waits"),
    [
        (None, None, True),
        (None, b"row", True),
        (b"row", None, True),
        (b"row", b"row", True),
        (b"row", b"another", False),
    ],
)
def test_who_excludes_whom(
    pair: tuple[Store, Store], first: bytes | None, second: bytes | None, waits: bool
) -> None:
    one, two = pair
    with one.transaction(beside=first):
        if waits:
            with (
                pytest.raises(UpstreamError, match="lock timeout"),
                two.transaction(beside=second),
            ):
                pass
        else:
            with two.transaction(beside=second):
                pass
    with two.transaction(beside=second):  # the turn comes, also after one that was given up
        pass


def test_who_got_his_turn_sees_what_was_committed_before_it(url: PostgresqlUrl) -> None:
    """Read, judge and write, by many: none is lost. This is what refresh families rely on."""
    store = open_store(url)
    store.connection.execute("INSERT INTO probe (id, at) VALUES (1, 0)")
    store.close()

    def add(beside: bytes | None) -> None:
        own = open_store(url)
        for _ in range(25):
            with own.transaction(beside=beside):
                (at,) = own.connection.execute("SELECT at FROM probe").fetchone()
                own.connection.execute("UPDATE probe SET at = ?", (at + 1,))
        own.close()

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(add, [b"probe", b"probe", b"probe", None, None, b"probe"]))
    assert rows(url, "SELECT at FROM probe") == [(150.0,)]


def test_a_statement_that_failed_and_was_passed_over_is_no_commit(url: PostgresqlUrl) -> None:
    store = open_store(url)

    def passed_over() -> None:
        store.connection.execute("INSERT INTO probe (id, at) VALUES (1, 1)")
        with pytest.raises(psycopg.IntegrityError):
            store.connection.execute("INSERT INTO probe (id, at) VALUES (1, 1)")

    with pytest.raises(UpstreamError, match="failed"), store.transaction():
        passed_over()
    assert rows(url, "SELECT * FROM probe") == []
    with store.transaction():
        store.connection.execute("INSERT INTO probe (id, at) VALUES (1, 1)")
    store.close()


@pytest.mark.anyio
async def test_who_lost_to_a_deadlock_does_its_work_again(url: PostgresqlUrl) -> None:
    """Of two that take the same two rows in another order, both are done in the end."""
    store = open_store(url)
    for name in ("a", "b"):
        store.connection.execute(
            "INSERT INTO used_assertion (client_id, token_hash, until) VALUES (?, ?, 0)",
            (name, b"x"),
        )
    store.close()
    both, tries = threading.Barrier(2), []

    def crosswise(own: Store, names: str) -> None:
        own.connection.execute("SET LOCAL deadlock_timeout = '50ms'")
        for place, name in enumerate(names):
            own.connection.execute(
                "UPDATE used_assertion SET until = until + 1 WHERE client_id = ?", (name,)
            )
            if place == 0:
                tries.append(names)
                if len(tries) <= 2:
                    both.wait(30)

    writer = Writer(url)
    await asyncio.gather(
        writer.run(lambda own: crosswise(own, "ab"), beside=b"1"),
        writer.run(lambda own: crosswise(own, "ba"), beside=b"2"),
    )
    writer.close()
    assert len(tries) == 3
    assert rows(url, "SELECT until FROM used_assertion") == [(2,), (2,)]


def revoke(store: Store, subject: str) -> None:
    store.revoke(subject, issued_before=1, until=2**40, reason="disabled", now=0.5)


def give_up_sometimes() -> None:
    if random.random() < 0.2:
        raise InterruptedError


def test_a_cursor_is_visible_only_when_all_before_it_are(url: PostgresqlUrl) -> None:
    """Writers that share the lock, as no code of ours does here, and take their time."""
    stop, faults = threading.Event(), list[object]()

    def write(number: int) -> None:
        own = open_store(url)
        for each in range(15):
            try:
                with own.transaction(beside=b"%d" % number):
                    give_up_sometimes()
                    revoke(own, f"w{number}-{each}")
                    threading.Event().wait(random.random() * 0.01)
                    give_up_sometimes()
            except InterruptedError:
                continue
        own.close()

    def read() -> None:
        own = open_store(url)
        seen: list[int] = []
        while not stop.is_set():
            # As the endpoint does: a page, and a cursor that was given out asked about first.
            last = own.last_cursor()
            found = own.revocations_after(0, now=0, limit=10_000)
            numbers = [row.cursor for row in found]
            if numbers != list(range(1, len(numbers) + 1)) or last > len(numbers):
                faults.append((last, numbers))
            if numbers[: len(seen)] != seen:
                faults.append(("changed", seen, numbers))
            seen = numbers
        own.close()

    with ThreadPoolExecutor(9) as threads:
        reading = [threads.submit(read) for _ in range(2)]
        writing = [threads.submit(write, number) for number in range(7)]
        for each in writing:
            each.result()
        stop.set()
        for each in reading:
            each.result()
    assert faults == []
    assert rows(url, "SELECT max(cursor) = count(*) AND count(*) > 10 FROM revocation") == [(True,)]


def test_a_cursor_is_never_given_to_another_row(url: PostgresqlUrl) -> None:
    store = open_store(url)
    with store.transaction():
        revoke(store, "a")
        revoke(store, "b")
    store.connection.execute("DELETE FROM revocation")
    assert store.last_cursor() == 2
    with store.transaction():
        revoke(store, "c")
    assert [row.cursor for row in store.revocations_after(0, now=0, limit=9)] == [3]
    store.close()


def test_the_counter_changes_with_every_commit_of_others(url: PostgresqlUrl) -> None:
    """Also with one that began before the counter was read, and ended after it."""
    one, two, reader = open_store(url), open_store(url), open_store(url)
    with one.transaction(beside=b"1"):
        revoke(one, "a")
        first = reader.change_counter()
        with two.transaction(beside=b"2"):
            two.connection.execute("INSERT INTO probe (id, at) VALUES (1, 1)")
        second = reader.change_counter()
        assert second != first
    third = reader.change_counter()
    assert third not in (first, second)
    assert len(reader.revocations_after(0, now=0, limit=9)) == 1
    for store in (one, two, reader):
        store.close()


@pytest.mark.anyio
async def test_all_who_ask_for_the_counter_at_once_share_one_question(url: PostgresqlUrl) -> None:
    reads = InThreads(url)
    writer = Writer(url)
    first = await asyncio.gather(*(reads.change_counter() for _ in range(100)))
    assert len(set(first)) == 1
    await writer.run(lambda store: revoke(store, "a"))
    await asyncio.sleep(0.1)
    assert await reads.change_counter() != first[0]
    reads.close()
    writer.close()


def lose(store: Store, other: Store) -> None:
    """Write something, and lose the connection."""
    (pid,) = store.connection.execute("SELECT pg_backend_pid()").fetchone()
    store.connection.execute("INSERT INTO probe (id, at) VALUES (1, 1)")
    other.connection.execute("SELECT pg_terminate_backend(?::int, 5000)", (pid,))


def test_what_was_begun_on_a_lost_connection_is_told_to_be_tried_again(
    url: PostgresqlUrl,
) -> None:
    store, other = open_store(url), open_store(url)
    with pytest.raises(TryAgainError), store.transaction():  # noqa: PT012 - the second fails
        lose(store, other)
        store.connection.execute("SELECT 1")
    assert rows(url, "SELECT * FROM probe") == []
    assert store.client("nobody") is None  # outside of one the connection comes back
    store.close()
    other.close()


def test_a_lost_connection_at_the_commit_is_never_taken_for_a_commit(url: PostgresqlUrl) -> None:
    store, other = open_store(url), open_store(url)
    with pytest.raises(UpstreamError) as caught, store.transaction():
        lose(store, other)
    assert not isinstance(caught.value, TryAgainError)  # nobody knows, so nothing is done again
    store.close()
    other.close()

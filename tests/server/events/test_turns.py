# SPDX-License-Identifier: Apache-2.0
"""One turn of a delivery is short, however much waits or has ended, and counts what it changed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from keyfob.server.events.answer import Verdict
from keyfob.server.events.receiver import Receiver
from keyfob.server.stores.event_receivers import (
    PURGED_AT_ONCE,
    ReceiverTable,
    Settled,
    Turn,
    TurnTaken,
)
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import Store, open_store

NOW = int(time.time())
GUARD = Receiver(name="guard", url="https://g.example/e", audience="g", created_at=1.0)


@pytest.fixture
def store(database: Place) -> Iterator[Store]:
    opened = open_store(database)
    with opened.transaction():
        ReceiverTable(opened).add(GUARD)
    yield opened
    opened.close()


def revoke(store: Store, count: int) -> None:
    with store.transaction():
        store.connection.executemany(
            "INSERT INTO revocation (subject, issued_before, until, reason) VALUES (?, ?, ?, 'x')",
            [(f"dev{number}", NOW, NOW + 60) for number in range(count)],
        )


def turn(
    store: Store, *, now: float = NOW, purge: bool = False, settled: tuple[Settled, ...] = ()
) -> TurnTaken:
    taken = Turn(receiver=GUARD, owner="o", now=now, lease=5, purge=purge, settled=settled)
    with store.transaction():
        return ReceiverTable(store).turn(taken)


def test_what_has_ended_is_given_up_in_several_transactions(store: Store) -> None:
    """While one lasts nobody else writes: no token is revoked, no secret used."""
    revoke(store, PURGED_AT_ONCE + 5)
    while ReceiverTable(store).has_new("guard"):
        turn(store)
    expired = [turn(store, now=NOW + 61, purge=True).expired for _ in range(3)]
    assert expired == [PURGED_AT_ONCE, 5, 0]


def test_a_revocation_forgets_a_bounded_number_of_those_that_ended(store: Store) -> None:
    revoke(store, 3_000)
    left = []
    for _ in range(4):
        with store.transaction():
            store.revoke(
                "x", issued_before=NOW, until=NOW + 3600, reason="x", now=NOW + 61, token_id="t"
            )
        (count,) = store.connection.execute(
            "SELECT count(*) FROM revocation WHERE until <= ?", (NOW + 61,)
        ).fetchone()
        left.append(count)
    assert left == [2_000, 1_000, 0, 0]
    assert len(store.revocations_after(0, now=NOW + 61, limit=9_999)) == 4


def test_what_two_processes_delivered_counts_once(store: Store) -> None:
    revoke(store, 1)
    turn(store)
    number = ReceiverTable(store).heads("guard", now=NOW, limit=1)[0].number
    for verdict in (Verdict.DELIVERED, Verdict.DELIVERED, Verdict.REJECTED, Verdict.FAILED):
        turn(store, settled=(Settled(number=number, verdict=verdict, reason="late"),))
    status = ReceiverTable(store).status("guard", now=NOW)
    assert status is not None
    assert (status.delivered, status.rejected, status.failures) == (1, 0, 0)

# SPDX-License-Identifier: Apache-2.0
"""Nothing is lost, whatever a receiver does; and of one device everything comes in order."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from typing import Any

import httpx
import pytest

from keyfob.server.events.answer import MAX_RETRY_AFTER
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import open_store
from tests.server.events.world import (
    URL,
    Inbox,
    Keys,
    accept,
    delivering,
    device_of,
    refusal,
    until,
    world,
)

pytestmark = pytest.mark.anyio


def revoke(database: Place, *devices: str, token: bool = False) -> None:
    """Write revocations as a bulk does: many in one transaction."""
    store, now = open_store(database), int(time.time())
    with store.transaction():
        for place, device in enumerate(devices):
            store.revoke(
                device,
                issued_before=now,
                until=now + 3_600,
                reason="revoked",
                now=now,
                token_id=f"t{place}" if token else None,
            )
    store.close()


async def test_each_revocation_is_told_once_of_a_receiver_that_is_well(database: Place) -> None:
    async with world(database) as w:
        w.disable("dev1", "dev2")
        w.register.remove_device("dev1")
        await w.until_told_of(3)
        assert sorted(map(device_of, w.inbox.taken)) == ["dev1", "dev1", "dev2"]
        assert len({claims["jti"] for claims in w.inbox.came}) == len(w.inbox.came) == 3
        status = w.status()
        assert (status.delivered, status.rejected, status.failures) == (3, 0, 0)
        assert status.last_error == ""
        assert w.notes == []


async def test_a_receiver_is_told_of_what_comes_after_it_was_added(database: Place) -> None:
    async with world(database, add=False) as w:
        w.disable("before")
        w.receivers.add("guard", url=URL)
        w.disable("after")
        await w.until_told_of(1)
        assert [device_of(claims) for claims in w.inbox.came] == ["after"]


async def test_a_removed_receiver_is_told_nothing_more(database: Place) -> None:
    async with world(database) as w:
        w.disable("one")
        await w.until_told_of(1)
        w.receivers.remove("guard")
        w.disable("two")
        w.receivers.add("guard", url=URL)
        w.disable("three")
        await w.until_told_of(2)
        assert [device_of(claims) for claims in w.inbox.came] == ["one", "three"]


@pytest.mark.parametrize("seed", range(3))
async def test_each_devices_events_come_in_order_through_every_failure(
    database: Place, seed: int
) -> None:
    """And no event is taken before the one ahead of it was, nor are two of a device under way."""
    dice = random.Random(seed)
    under_way: set[str] = set()

    async def moody(claims: dict[str, Any]) -> httpx.Response:
        device = device_of(claims)
        assert device not in under_way
        under_way.add(device)
        await asyncio.sleep(dice.random() * 0.005)
        under_way.discard(device)
        if dice.random() < 0.1:
            raise httpx.ReadError("gone")
        return httpx.Response(dice.choice([202, 202, 202, 202, 202, 503, 401]))

    devices = [dice.choice("abcdef") for _ in range(60)]
    async with world(database, answer=moody) as w:
        for place in range(0, 60, 20):
            revoke(database, *devices[place : place + 20], token=True)
        await w.until_told_of(60)
        numbers = defaultdict(list)
        for claims in w.inbox.taken:
            numbers[device_of(claims)].append(claims["sub_id"]["session"]["jti"])
        expected = defaultdict(list)
        for place, device in enumerate(devices):
            expected[device].append(f"t{place % 20}")
        assert numbers == expected
        assert w.status().delivered == 60


async def test_a_poisoned_event_is_skipped_and_told_and_keeps_nobody_back(database: Place) -> None:
    async def picky(claims: dict[str, Any]) -> httpx.Response:
        return refusal("invalid_request") if device_of(claims) == "bad" else httpx.Response(202)

    async with world(database, answer=picky) as w:
        revoke(database, "bad", "good")
        await w.until_told_of(1)
        await until(lambda: w.status().rejected == 1)
        assert w.status().last_error == "invalid_request"
        (note,) = w.notes
        assert (note.what, note.subject, note.reason) == ("rejected", "bad", "invalid_request")
        assert note.token_id in {claims["jti"] for claims in w.inbox.came}
        assert len(w.inbox.came) == 2


async def test_an_event_that_is_never_digested_keeps_its_own_device_back_only(
    database: Place,
) -> None:
    async def breaks(claims: dict[str, Any]) -> httpx.Response:
        return httpx.Response(500 if device_of(claims) == "bad" else 202)

    async with world(database, answer=breaks) as w:
        revoke(database, "bad", *(f"dev{number}" for number in range(20)), "bad")
        await until(lambda: len(w.inbox.taken) == 20)
        revoke(database, "late")
        await until(lambda: len(w.inbox.taken) == 21)
        await until(lambda: w.status().pending == 2)
        tried = {claims["jti"] for claims in w.inbox.came if device_of(claims) == "bad"}
        assert len(tried) == 1, "the second waits for the first"


async def test_a_stream_that_is_set_up_wrongly_loses_nothing(database: Place) -> None:
    mended = asyncio.Event()

    async def misled(_: dict[str, Any]) -> httpx.Response:
        return httpx.Response(202) if mended.is_set() else refusal("invalid_audience")

    async with world(database, answer=misled) as w:
        revoke(database, "a", "b")
        await until(lambda: w.status().failures >= 3)
        await until(lambda: "failing" in w.told())
        assert w.status().last_error == "invalid_audience"
        mended.set()
        await w.until_told_of(2)
        assert w.told() == ["failing", "recovered"]


async def test_a_receiver_that_is_away_gets_everything_when_it_is_back(database: Place) -> None:
    async with world(database) as w:
        w.inbox.answer = gone
        revoke(database, *(f"dev{number}" for number in range(200)))
        await until(lambda: w.status().failures >= 3)
        # It is asked with one at a time while it is away, not with all that wait.
        assert w.inbox.most <= 8
        asked = len(w.inbox.came)
        assert asked < 40
        w.inbox.answer = accept
        await w.until_told_of(200)
        assert {device_of(claims) for claims in w.inbox.taken} == {f"dev{n}" for n in range(200)}


async def gone(_: dict[str, Any]) -> httpx.Response:
    raise httpx.ConnectError("nobody there")


async def test_a_slow_receiver_has_a_bounded_number_of_pushes_under_way(database: Place) -> None:
    async def slow(_: dict[str, Any]) -> httpx.Response:
        await asyncio.sleep(0.02)
        return httpx.Response(202)

    async with world(database, answer=slow) as w:
        revoke(database, *(f"dev{number}" for number in range(100)))
        await w.until_told_of(100)
        assert w.inbox.most == 8
        assert len(w.inbox.came) == 100


async def test_retry_after_is_waited_for(database: Place) -> None:
    async def later(_: dict[str, Any]) -> httpx.Response:
        return httpx.Response(429, headers={"Retry-After": "600"})

    async with world(database, answer=later) as w:
        revoke(database, "dev1")
        await until(lambda: w.status().failures == 1)
        store = open_store(database)
        (not_before,) = store.connection.execute("SELECT not_before FROM event_delivery").fetchone()
        store.close()
        assert not_before > time.time() + MAX_RETRY_AFTER - 60
        revoke(database, "dev2")  # it asked to be left alone, whoever it is about
        await asyncio.sleep(0.2)
        assert len(w.inbox.came) == 1


async def test_what_was_not_acknowledged_comes_again_under_the_same_name(database: Place) -> None:
    """A process that ends between the 202 and its note asks again: at least once."""
    stuck = asyncio.Event()

    async def hangs(_: dict[str, Any]) -> httpx.Response:
        stuck.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with world(database, running=False) as w:
        revoke(database, "dev1")
        async with delivering(database, Inbox(hangs)) as _:
            await stuck.wait()
        first = Inbox()
        async with delivering(database, first):
            await until(lambda: w.status().pending == 0)
        second = Inbox()
        async with delivering(database, second):
            revoke(database, "dev2")
            await until(lambda: w.status().delivered == 2)
        assert [device_of(claims) for claims in first.taken] == ["dev1"]
        assert [device_of(claims) for claims in second.came] == ["dev2"]


async def test_of_several_processes_one_delivers_at_a_time(database: Place) -> None:
    async def slow(_: dict[str, Any]) -> httpx.Response:
        await asyncio.sleep(0.01)
        return httpx.Response(202)

    async with world(database, answer=slow, running=False) as w:
        async with (
            delivering(database, w.inbox),
            delivering(database, w.inbox),
            delivering(database, w.inbox),
        ):
            for place in range(5):
                revoke(database, *(f"dev{place}-{number}" for number in range(10)))
                await asyncio.sleep(0.03)
            await w.until_told_of(50)
        assert w.inbox.most <= 8, "never twice the width"
        assert len(w.inbox.came) == 50, "none twice"


async def test_another_process_goes_on_when_the_lease_of_the_first_has_ended(
    database: Place,
) -> None:
    async with world(database, running=False) as w:
        store = open_store(database)
        with store.transaction():
            store.connection.execute(
                "UPDATE receiver SET lease_owner = 'killed', lease_until = ?", (time.time() + 1,)
            )
        store.close()
        revoke(database, "dev1")
        async with delivering(database, w.inbox, lease=0.5):
            await w.until_told_of(1)


async def test_a_lease_from_a_clock_that_was_ahead_ends_with_whoever_held_it(
    database: Place,
) -> None:
    """The clock was set back, or was another machine's; its holder was killed."""
    async with world(database, running=False) as w:
        store = open_store(database)
        with store.transaction():
            store.connection.execute(
                "UPDATE receiver SET lease_owner = 'killed', lease_until = ?", (time.time() + 1e6,)
            )
        store.close()
        revoke(database, "dev1")
        async with delivering(database, w.inbox, lease=0.5):
            await w.until_told_of(1)


async def test_a_lease_that_goes_on_is_not_taken_whatever_its_clock_says(database: Place) -> None:
    async def slow(_: dict[str, Any]) -> httpx.Response:
        await asyncio.sleep(1.5)
        return httpx.Response(202)

    async with world(database, running=False) as w:
        revoke(database, "dev1")
        async with delivering(database, Inbox(slow), clock=lambda: time.time() + 900, lease=0.4):
            await until(lambda: w.status().pending == 1 and _lease_until(database) > time.time())
            async with delivering(database, w.inbox, lease=0.4):
                await until(lambda: w.status().delivered == 1)
        assert w.inbox.came == []


def _lease_until(database: Place) -> float:
    store = open_store(database)
    (found,) = store.connection.execute("SELECT lease_until FROM receiver").fetchone()
    store.close()
    return float(found)


async def test_a_clock_that_is_set_back_keeps_no_event_waiting(database: Place) -> None:
    async with world(database, running=False) as w:
        revoke(database, "dev1")
        async with delivering(database, Inbox(gone)):
            await until(lambda: w.status().failures >= 1)
        async with delivering(database, w.inbox):
            w.inbox.answer = gone
            failures = w.status().failures
            await until(lambda: w.status().failures > failures)
            store = open_store(database)
            with store.transaction():
                store.connection.execute(
                    "UPDATE event_delivery SET not_before = ?", (time.time() + 1e6,)
                )
            store.close()
            w.inbox.answer = accept
            await w.until_told_of(1)


async def test_a_push_that_hangs_keeps_no_new_event_of_another_device_waiting(
    database: Place,
) -> None:
    """Nor until the lease is renewed, which here is in an hour."""

    async def hangs(claims: dict[str, Any]) -> httpx.Response:
        if device_of(claims) == "bad":
            await asyncio.Event().wait()
        return httpx.Response(202)

    async with (
        world(database, running=False) as w,
        delivering(database, w.inbox, lease=10_800.0),
    ):
        w.inbox.answer = hangs
        revoke(database, "bad")
        await until(lambda: w.inbox.open)
        for name in ("good", "better"):
            revoke(database, name)
            await until(lambda name=name: name in map(device_of, w.inbox.taken))  # type: ignore[misc]
        await until(lambda: w.status().delivered == 2)
        watcher = open_store(database)
        before = watcher.change_counter()
        await asyncio.sleep(0.3)
        assert watcher.change_counter() == before, "while it hangs nothing is written"
        watcher.close()


async def test_what_cannot_even_be_asked_is_told_as_a_failure(
    database: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy in the environment that httpx does not know ends no stream without a word."""
    monkeypatch.setenv("HTTPS_PROXY", "gopher://user:hidden@proxy.example:70")
    async with world(database, running=False) as w:
        revoke(database, "dev1")
        async with delivering(database, None):
            await until(lambda: w.status().failures >= 3)
        assert w.status().last_error == "cannot_connect"
        assert w.status().pending == 1
    assert "hidden" not in caplog.text


async def test_an_event_is_given_up_when_its_tokens_have_ended_and_that_is_told(
    database: Place,
) -> None:
    now = int(time.time())
    async with world(database, running=False) as w:
        revoke(database, "old", "new")
        async with delivering(database, Inbox(gone)):
            await until(lambda: w.status().failures >= 1)
        store = open_store(database)
        with store.transaction():
            store.connection.execute(
                "UPDATE revocation SET until = ? WHERE subject = 'old'", (now - 1,)
            )
        store.close()
        async with delivering(database, w.inbox, notes=w.notes):
            await w.until_told_of(1)
        assert [device_of(claims) for claims in w.inbox.came] == ["new"]
        assert w.status().expired == 1
        assert "expired" in w.told()


async def test_an_event_is_signed_with_the_key_that_signs_when_it_is_sent(database: Place) -> None:
    async with world(database, running=False) as w:
        revoke(database, "dev1")
        async with delivering(database, Inbox(gone)):
            await until(lambda: w.status().failures >= 1)
        other = Keys(type(Keys().key).generate())
        inbox = Inbox(key=other.key)
        async with delivering(database, inbox, keys=other):
            await until(lambda: inbox.taken)


async def test_with_nothing_to_do_nothing_is_written(database: Place) -> None:
    async with world(database) as w:
        w.disable("dev1")
        await w.until_told_of(1)
        watcher = open_store(database)
        await asyncio.sleep(0.1)
        before = watcher.change_counter()
        await asyncio.sleep(0.5)
        assert watcher.change_counter() == before
        watcher.close()


async def test_a_fault_of_ours_is_logged_and_deliveries_go_on(
    database: Place, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_: dict[str, Any]) -> httpx.Response:
        w.inbox.answer = accept
        raise ZeroDivisionError

    async with world(database, answer=broken) as w:
        revoke(database, "dev1")
        await w.until_told_of(1)
    assert "begin anew" in caplog.text

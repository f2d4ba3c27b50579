# SPDX-License-Identifier: Apache-2.0
"""The plugin in a broker whose guard replaces what a live connection may do, and until when."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.broker import (
    ADMINISTRATIVE_ACTION,
    NOT_AUTHORIZED,
    TAKEN,
    Broker,
    Device,
)
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard, allow, allowed, until

REPLACED = "client dev1: its permissions were replaced"


def now_ms() -> int:
    return int(time.time() * 1000)


def replace(guard: FakeGuard, permissions: bytes, **changes: Any) -> None:
    """Replace the grant of the last connection of dev1."""
    epoch = max(connect.epoch for connect in guard.connects if connect.client_id == "dev1")
    guard.push(frames.replace(permissions, "dev1", **{"epoch": epoch, **changes}))


def replaced(broker: Broker, times: int) -> None:
    until(lambda: broker.log.count(REPLACED) == times, "the replacement")


def settled(broker: Broker, guard: FakeGuard) -> None:
    """Whatever was pushed has been taken: frames are taken in their order."""
    with Device(broker.port, "marker") as marker:
        guard.push(frames.end("marker", frames.REVOKED))
        marker.wait_closed()


def test_permissions_are_replaced_not_merged(broker: Broker, guard: FakeGuard) -> None:
    guard.decide = allow(["dev1/old", "dev1/both"], ["dev1/#"])
    with Device(broker.port, "dev1") as device:
        assert device.subscribe("dev1/#") == 1
        replace(guard, allowed(["dev1/new", "dev1/both"], ["dev1/both"]))
        replaced(broker, 1)
        assert device.publish("dev1/old") == NOT_AUTHORIZED
        assert device.publish("dev1/new", b"new") == 0  # and not delivered
        assert device.publish("dev1/both", b"both") == 0
        assert device.received() == ("dev1/both", b"both")
        assert device.subscribe("dev1/#") == NOT_AUTHORIZED
        replace(guard, allowed(["dev1/#"], ["dev1/#"]))
        replaced(broker, 2)
        assert device.publish("dev1/old", b"old") == 0
        assert device.received() == ("dev1/old", b"old")


def test_the_end_moves_forward(broker: Broker, guard: FakeGuard) -> None:
    device = Device(broker.port, "dev1")
    assert device.connect() == 0
    replace(guard, allowed(), expires_at=now_ms() + 300)
    device.wait_closed()
    assert device.disconnect_reason == ADMINISTRATIVE_ACTION
    assert "client dev1: its token has run out" in broker.log


def test_the_end_moves_back(broker: Broker, guard: FakeGuard) -> None:
    """dev2 came in later with the same lifetime: when it has ended, dev1 would have ended."""
    guard.decide = allow(seconds=3)
    with Device(broker.port, "dev1") as device:
        replace(guard, allowed(["dev1/#"]))
        replaced(broker, 1)
        other = Device(broker.port, "dev2")
        assert other.connect() == 0
        other.wait_closed()
        assert device.publish("dev1/x") in TAKEN
        assert not device.closed.is_set()


@pytest.mark.parametrize(
    "changes",
    [{"epoch": 77}, {"epoch": 0}, {"issuer": "away"}, {"subject": "dev2"}],
    ids=str,
)
def test_what_is_another_connections_or_owners_changes_nothing(
    broker: Broker, guard: FakeGuard, changes: dict[str, Any]
) -> None:
    with Device(broker.port, "dev1") as device:
        replace(guard, allowed(), **changes)
        settled(broker, guard)
        assert REPLACED not in broker.log
        assert device.publish("dev1/x") in TAKEN


def test_an_end_is_not_taken_back(broker: Broker, guard: FakeGuard) -> None:
    for cause in (frames.REVOKED, frames.EXPIRED):
        device = Device(broker.port, "dev1")
        assert device.connect() == 0
        epoch = guard.connects[-1].epoch
        guard.push(
            frames.end("dev1", cause, epoch=epoch)
            + frames.replace(allowed(["dev1/#"]), "dev1", epoch=epoch)
        )
        device.wait_closed()
    assert REPLACED not in broker.log


def test_a_grant_that_cannot_be_kept_leaves_the_old_one(broker: Broker, guard: FakeGuard) -> None:
    """Its filter is none; the link stays, and so do the old permissions and the old deadline."""
    broken = allowed(["dev1/xx"]).replace(b"dev1/xx", b"dev1#/x")
    with Device(broker.port, "dev1") as device:
        replace(guard, broken, expires_at=now_ms() - 1000)
        until(lambda: "client dev1: its permissions stay as they are" in broker.log, "the log")
        settled(broker, guard)
        assert device.publish("dev1/y") in TAKEN
        assert guard.links == 1


def test_the_username_stays_and_the_guard_is_told_the_new_grant(
    broker: Broker, guard: FakeGuard
) -> None:
    with Device(broker.port, "dev1") as device:
        replace(guard, allowed(["dev1/new"]), principal="somebody")
        replaced(broker, 1)
        guard.hang_up()
        until(lambda: guard.links == 2, "a new link")
        (record,) = guard.records
        assert record.grant.principal == "principal-dev1"
        assert record.grant.expires_at == frames.LATER
        assert [str(rule.filter) for rule in record.grant.permissions.rules] == ["dev1/new"]
        assert device.publish("dev1/new") in TAKEN


def test_among_the_records_it_ends_the_link(broker: Broker, guard: FakeGuard) -> None:
    with Device(broker.port, "dev1") as device:
        guard.greeting = [frames.replace(allowed(), "dev1", epoch=guard.connects[-1].epoch)]
        guard.hang_up()
        until(lambda: "it broke the protocol" in broker.log, "a line in the log")
        guard.greeting = []
        assert device.publish("dev1/x") in TAKEN

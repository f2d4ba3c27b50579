# SPDX-License-Identifier: Apache-2.0
"""The plugin in a broker whose guard goes, comes, freezes, or says what it should not."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from keyfob.brokers.mosquitto.frames import Admitted, Offline
from keyfob.guard.session import SessionState
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.broker import (
    TAKEN,
    UNAVAILABLE,
    Broker,
    Device,
    Plugin,
    comes_in,
    told,
    unavailable,
)
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard, Question, allow, allowed, until

# The guard goes and comes


def test_without_a_guard_those_who_are_in_stay_and_others_wait(
    broker: Broker, guard: FakeGuard
) -> None:
    with Device(broker.port, "dev1") as device:
        guard.stop()
        assert device.publish("dev1/x") in TAKEN
        late = Device(broker.port, "late")
        assert late.connect() == unavailable()
        late.stop()
        guard.start()
        until(lambda: comes_in(broker, "dev2"), "the guard to be found again")
        assert guard.links == 2
        assert [(r.client_id, r.state) for r in guard.records] == [("dev1", SessionState.ONLINE)]
        assert guard.hello is not None
        assert guard.connects[0].epoch <= guard.hello.epoch <= guard.connects[-1].epoch
        assert not device.closed.is_set()


def test_what_the_guard_says_wakes_the_broker(broker: Broker, guard: FakeGuard) -> None:
    """Mosquitto looks every 100 ms by itself: a signal of the link's ends its sleep before."""
    assert broker.process is not None
    of = Path("/proc") / str(broker.process.pid)
    caught = re.search(r"^SigCgt:\s*(\w+)", (of / "status").read_text(), re.MULTILINE)
    assert caught is not None
    assert int(caught[1], 16) >> (signal.SIGRTMIN + 3 - 1) & 1
    infos = [path.read_text() for path in (of / "fdinfo").iterdir()]
    flags = [int(info.split("flags:")[1].split()[0], 8) for info in infos]
    assert sum(bool(each & os.O_ASYNC) for each in flags) == guard.links == 1


def test_a_new_guard_learns_all_that_the_broker_knows(broker: Broker, guard: FakeGuard) -> None:
    with (
        Device(broker.port, "stored", clean=False),
        Device(broker.port, "gone", version=4),
        Device(broker.port, ""),  # nobody can come back to the identifier that it gets
    ):
        pass
    with Device(broker.port, "revoked", clean=False) as revoked:
        guard.push(frames.end("revoked", frames.REVOKED))
        revoked.wait_closed()
    until(lambda: guard.heard(Offline, client_id="revoked"), "OFFLINE")
    with Device(broker.port, "live") as live:
        guard.hang_up()
        until(lambda: guard.links == 2, "a new link")
        assert {r.client_id: r.state for r in guard.records} == {
            "stored": SessionState.OFFLINE,
            "revoked": SessionState.REVOKED,
            "live": SessionState.ONLINE,
        }
        assert next(r for r in guard.records if r.client_id == "live").grant.issuer == "home"
        guard.push(frames.end("live", frames.REVOKED))
        live.wait_closed()


def test_the_guard_is_told_whether_a_session_is_stored_and_not_how_it_began(
    broker: Broker, guard: FakeGuard
) -> None:
    """A clean start says nothing of the end in MQTT 5, unless nobody can come back."""
    with (
        Device(broker.port, "kept", clean=True, kept=True),
        Device(broker.port, "resumed", clean=False),
        Device(broker.port, "older", version=4),
        Device(broker.port, ""),
    ):
        guard.hang_up()
        until(lambda: guard.links == 2, "a new link")
        told = {record.client_id: record.clean for record in guard.records}
        assigned = next(name for name in told if name.startswith("auto-"))
        assert told == {"kept": False, "resumed": False, "older": True, assigned: True}


def test_thousands_of_records_cross_the_link_both_ways(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    """More than any socket buffer holds: neither side may wait for the other."""
    rules = allowed([f"some/long/topic/filter/{i}/#" for i in range(40)])
    guard.greeting = [
        frames.record(rules, f"dev{i}", epoch=1000 + i, subject=f"dev{i}") for i in range(1200)
    ]
    with Broker(directory, plugin, guard.path) as broker:
        assert guard.links == 1
        guard.greeting = []
        guard.hang_up()
        until(lambda: guard.links == 2, "a new link")
        assert {record.client_id for record in guard.records} == {f"dev{i}" for i in range(1200)}
        with Device(broker.port, "new"):
            assert guard.connects[-1].epoch > 2199


def test_who_leaves_while_records_are_told_is_told_after_them(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    rules = allowed([f"some/long/topic/filter/{i}/#" for i in range(40)])
    guard.greeting = [frames.record(rules, f"dev{i}") for i in range(1200)]
    with Broker(directory, plugin, guard.path) as broker:
        with Device(broker.port, "leaving", clean=False):
            guard.greeting = []
            guard.pauses = True
            guard.hang_up()
            until(lambda: not guard.reads.is_set() and guard.unread(), "records over a new link")
        until(
            lambda: re.search(r"Client leaving .*disconnected", broker.log),
            "the broker to take note",
        )
        assert guard.links == 1
        guard.reads.set()
        until(lambda: guard.heard(Offline, client_id="leaving"), "OFFLINE")
        assert guard.links == 2


def test_a_frozen_guard_stops_nobody_who_is_in(impatient: Broker, guard: FakeGuard) -> None:
    broker = impatient
    with Device(broker.port, "dev1") as device:
        pending: list[tuple[Question, int]] = []
        guard.decide = lambda connect, request: pending.append((connect, request))
        refused = [Device(broker.port, name) for name in ("dev2", "dev3")]
        for one in refused:
            one.begin()
        for one in refused:
            assert one.outcome() == unavailable()
            one.stop()
        # The second was refused at once: the breaker is open, and it was never asked about.
        assert [connect.client_id for connect, _ in pending] == ["dev2"]
        assert device.publish("dev1/x") in TAKEN
        # The late answer lets nobody in.
        connect, request = pending[0]
        answer = allow()(connect, request)
        assert answer is not None
        guard.push(answer)
        guard.decide = allow()
        until(lambda: comes_in(broker, "dev4"), "the breaker to close")
        assert not guard.heard(Admitted, client_id="dev2")
        assert guard.links == 1


def test_a_guard_that_stays_silent_is_connected_to_anew(
    impatient: Broker, guard: FakeGuard
) -> None:
    broker = impatient
    guard.decide = lambda *_: None
    until(lambda: not comes_in(broker, "dev1") and guard.links > 1, "a new link")
    guard.decide = allow()
    until(lambda: comes_in(broker, "dev1"), "answers")


def test_what_is_no_frame_ends_the_link_and_nothing_else(broker: Broker, guard: FakeGuard) -> None:
    with Device(broker.port, "dev1") as device:
        for number, wrong in enumerate((b"\xff" * 12, frames.welcome(), frames.records_end())):
            guard.push(wrong)
            until(lambda links=number + 2: guard.links == links, "a new link")  # type: ignore[misc]
        assert device.publish("dev1/x") in TAKEN
        with Device(broker.port, "dev2"):
            pass


def test_a_decision_with_a_broken_filter_is_refused_and_the_link_stays(
    broker: Broker, guard: FakeGuard
) -> None:
    """One token must not be able to take the link from everybody."""
    rule = b"\x00\x00\x01" + bytes((1, 3, 0, 7, 3)) + frames.text("a/#/b")
    guard.decide = lambda connect, request: frames.decision(request, connect.epoch, allowed=rule)
    device = Device(broker.port, "dev1")
    assert device.connect() == told(broker, UNAVAILABLE)
    device.stop()
    guard.decide = allow()
    with Device(broker.port, "dev1"):
        assert guard.links == 1


def test_a_broker_that_restarts_gets_its_stored_sessions_records_first(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    guard.decide = allow(["dev1/#"], ["dev1/#"])
    with Broker(directory, plugin, guard.path, lines=("persistence true",)) as broker:
        with Device(broker.port, "dev1", clean=False) as device:
            assert device.subscribe("dev1/#") == 1
        first = guard.hello
        broker.stop()
        guard.greeting = [
            frames.record(allowed(subscribe=["dev1/#"]), principal="principal-dev1", epoch=70)
        ]
        broker.start()
        assert guard.hello is not None
        assert first is not None
        assert guard.hello.broker_instance != first.broker_instance
        with Device(broker.port, "sender") as sender:
            assert sender.publish("dev1/x", b"queued") == 0
        with Device(broker.port, "dev1", clean=False) as again:
            assert guard.connects[-1].epoch > 70
            assert again.session_present
            assert again.received() == ("dev1/x", b"queued")


def test_a_broker_starts_without_a_guard_and_finds_it_later(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    guard.stop()
    with Broker(directory, plugin, guard.path, {"startup_wait_ms": "0"}) as broker:
        early = Device(broker.port, "dev1")
        assert early.connect() == unavailable()
        early.stop()
        guard.start()
        until(lambda: guard.links == 1, "the link")
        with Device(broker.port, "dev1"):
            pass


def test_a_guard_that_dies_while_its_records_are_taken_in_is_only_gone(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    """Each record evicts another, which is told at once, to nobody."""
    guard.greeting = [frames.record(allowed(), f"dev{i}") for i in range(200)]
    guard.leaves = True
    options = {"offline_records": "1", "startup_wait_ms": "0"}
    with Broker(directory, plugin, guard.path, options) as broker:
        until(lambda: guard.links > 0, "the records")
        guard.leaves = False
        until(lambda: comes_in(broker, "dev1"), "the guard to be found again")
        assert "out of memory" not in broker.log  # what a buffer of less than nothing would say


# Bounds


def test_records_of_absent_clients_are_bounded(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    with Broker(directory, plugin, guard.path, {"offline_records": "2"}) as broker:
        for name in ("dev1", "dev2", "dev3"):
            with Device(broker.port, name, clean=False):
                pass
            until(lambda n=name: guard.heard(Offline, client_id=n), "OFFLINE")  # type: ignore[misc]
        until(lambda: guard.heard(Offline, client_id="dev1", kept=False), "the eviction")
        guard.hang_up()
        until(lambda: guard.links == 2, "a new link")
        assert {record.client_id for record in guard.records} == {"dev2", "dev3"}

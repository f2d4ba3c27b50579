# SPDX-License-Identifier: Apache-2.0
"""The plugin in a broker: what ends when a token, an authorization or a connection does."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.frames import Admitted, Offline
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.broker import (
    ADMINISTRATIVE_ACTION,
    NOT_AUTHORIZED,
    TAKEN,
    Broker,
    Device,
    Plugin,
    comes_in,
    devices,
)
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard, allow, refuse, until
from tests.free_ports import free_port

# The end of a token


def test_at_expiry_the_connection_ends_its_will_is_sent_its_session_stays(
    broker: Broker, guard: FakeGuard
) -> None:
    with Device(broker.port, "watch") as watch:
        assert watch.subscribe("watch/#") == 1
        with Device(broker.port, "dev1", clean=False) as device:
            assert device.subscribe("dev1/#") == 1
        guard.decide = allow(["{id}/#", "watch/#"], ["{id}/#"], seconds=0.5)
        device = Device(broker.port, "dev1", clean=False, will="watch/will")
        assert device.connect() == 0
        device.wait_closed()
        assert device.disconnect_reason == ADMINISTRATIVE_ACTION
        assert watch.received() == ("watch/will", b"gone")
    until(lambda: guard.heard(Offline, client_id="dev1", epoch=3, kept=True), "OFFLINE")
    guard.decide = allow(publish=["dev1/#"])
    with Device(broker.port, "sender") as sender:
        assert sender.publish("dev1/later", b"queued") == 0
    guard.decide = allow()
    with Device(broker.port, "dev1", clean=False) as again:
        assert again.session_present
        assert again.received() == ("dev1/later", b"queued")
        # The subscription has outlived the kick as well.
        assert again.publish("dev1/now", b"live") == 0
        assert again.received() == ("dev1/now", b"live")


def test_a_decision_that_has_run_out_lets_nobody_in(broker: Broker, guard: FakeGuard) -> None:
    guard.decide = allow(seconds=-1)
    device = Device(broker.port, "dev1")
    assert device.connect() == NOT_AUTHORIZED
    device.stop()
    assert not guard.heard(Admitted)


def test_the_guard_can_bring_the_end_forward(broker: Broker, guard: FakeGuard) -> None:
    with Device(broker.port, "watch") as watch:
        guard.decide = allow(["watch/#"])
        assert watch.subscribe("watch/#") == 1
        device = Device(broker.port, "dev1", will="watch/will")
        assert device.connect() == 0
        guard.push(frames.end("dev1", frames.EXPIRED, epoch=2))
        device.wait_closed()
        assert watch.received() == ("watch/will", b"gone")


def test_a_client_on_websockets_comes_in_stays_at_a_reload_and_ends_like_others(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    port = free_port()
    lines = (f"listener {port} 127.0.0.1", "protocol websockets")
    with (
        Broker(directory, plugin, guard.path, lines=lines) as broker,
        Device(broker.port, "watch") as watch,
    ):
        assert watch.subscribe("watch/#") == 1
        guard.decide = allow(["dev1/#", "watch/#"], ["dev1/#"])
        device = Device(port, "dev1", transport="websockets", will="watch/will")
        assert device.connect() == 0
        assert device.subscribe("dev1/#") == 1
        asked = len(guard.connects)
        broker.reload()
        assert device.publish("dev1/x", b"1") == 0
        assert device.received() == ("dev1/x", b"1")
        assert len(guard.connects) == asked
        guard.push(frames.end("dev1", frames.EXPIRED))
        device.wait_closed()
        assert watch.received() == ("watch/will", b"gone")
        device.stop()


def test_a_reload_disturbs_no_session_that_came_over_websockets(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    port = free_port()
    lines = (f"listener {port} 127.0.0.1", "protocol websockets")
    with Broker(directory, plugin, guard.path, lines=lines) as broker:
        with Device(port, "dev1", clean=False, transport="websockets"):
            pass
        until(lambda: guard.heard(Offline, client_id="dev1"), "OFFLINE")
        broker.reload()
        with Device(broker.port, "dev1", clean=False) as again:
            assert again.session_present
            assert len(guard.connects) == 2


# The will


@pytest.mark.parametrize("version", [4, 5])
def test_a_will_is_sent_where_the_client_might_have_published_it(
    broker: Broker, guard: FakeGuard, version: int
) -> None:
    with Device(broker.port, "watch") as watch:
        assert watch.subscribe("watch/#") == 1
        guard.decide = allow(["watch/allowed"])
        for topic in ("watch/denied", "watch/allowed"):
            device = Device(broker.port, "dev1", version=version, will=topic)
            assert device.connect() == 0
            device.vanish()
        assert watch.received() == ("watch/allowed", b"gone")
        assert watch.messages.empty()


def test_a_will_is_sent_later_where_that_was_asked_for(broker: Broker, guard: FakeGuard) -> None:
    with Device(broker.port, "watch") as watch:
        assert watch.subscribe("watch/#") == 1
        guard.decide = allow(["watch/allowed"])
        for topic in ("watch/denied", "watch/allowed"):
            device = Device(broker.port, topic[6:], clean=False, will=topic, will_delay=1)
            assert device.connect() == 0
            device.vanish()
        assert watch.received() == ("watch/allowed", b"gone")
        assert watch.messages.empty()


# Revocation


def test_a_revoked_client_goes_at_once_without_its_will(broker: Broker, guard: FakeGuard) -> None:
    with Device(broker.port, "watch") as watch:
        assert watch.subscribe("watch/#") == 1
        guard.decide = allow(["{id}/#", "watch/#"])
        device = Device(broker.port, "dev1", clean=False, will="watch/will")
        assert device.connect() == 0
        assert device.subscribe("dev1/#") == 1
        guard.push(frames.end("dev1", frames.REVOKED, epoch=2))
        device.wait_closed()
        assert device.disconnect_reason == ADMINISTRATIVE_ACTION
        with Device(broker.port, "sender") as sender:
            assert sender.publish("watch/after", b"1") == 0
        assert watch.received() == ("watch/after", b"1")


def test_an_end_concerns_one_connection_of_one_client(broker: Broker, guard: FakeGuard) -> None:
    with devices(broker.port, ["dev1", "dev2"]) as (first, second):
        guard.push(frames.end("dev1", frames.REVOKED, epoch=7))  # a connection that is long gone
        guard.push(frames.end("dev3", frames.REVOKED))  # a client that is not there
        guard.push(frames.end("dev2", frames.REVOKED, epoch=0))  # whatever connection it has
        second.wait_closed()
        assert first.publish("dev1/x") in TAKEN


def test_nothing_is_queued_for_a_revoked_client_nor_kept_of_what_was(
    broker: Broker, guard: FakeGuard
) -> None:
    guard.decide = allow(["dev1/#"], ["dev1/#"])
    with Device(broker.port, "dev1", clean=False) as device:
        assert device.subscribe("dev1/#") == 1
    until(lambda: guard.heard(Offline, client_id="dev1"), "OFFLINE")
    guard.push(frames.end("dev1", frames.REVOKED))
    until(lambda: "client dev1: its authorization was revoked" in broker.log, "the revocation")
    with Device(broker.port, "sender") as sender:
        assert sender.publish("dev1/x", b"lost") in TAKEN
        with Device(broker.port, "dev1", clean=False) as again:
            assert sender.publish("dev1/x", b"new") == 0
            assert again.received() == ("dev1/x", b"new")


def test_what_was_queued_before_a_revocation_is_not_delivered_after_it(
    broker: Broker, guard: FakeGuard
) -> None:
    """Not even to whom the guard lets in again, which then is sent what is new."""
    with Device(broker.port, "dev1", clean=False) as device:
        assert device.subscribe("dev1/#") == 1
    until(lambda: guard.heard(Offline, client_id="dev1"), "OFFLINE")
    guard.decide = allow(["dev1/#"], ["dev1/#"])
    with Device(broker.port, "sender") as sender:
        assert sender.publish("dev1/x", b"before") == 0
        guard.push(frames.end("dev1", frames.REVOKED, epoch=0))
        until(lambda: "client dev1: its authorization was revoked" in broker.log, "the revocation")
        with Device(broker.port, "dev1", clean=False) as again:
            assert again.session_present
            assert sender.publish("dev1/x", b"after") == 0
            assert again.received() == ("dev1/x", b"after")
            assert again.publish("dev1/x", b"own") == 0
            assert again.received() == ("dev1/x", b"own")
        until(lambda: guard.heard(Offline, client_id="dev1", epoch=3), "OFFLINE")
        assert sender.publish("dev1/x", b"queued") == 0
        with Device(broker.port, "dev1", clean=False) as again:
            assert again.received() == ("dev1/x", b"queued")


def test_a_forgotten_session_may_belong_to_another(broker: Broker, guard: FakeGuard) -> None:
    with Device(broker.port, "dev1", clean=False):
        pass
    until(lambda: guard.heard(Offline, client_id="dev1", kept=True), "OFFLINE")
    guard.push(frames.end("dev1", frames.FORGOTTEN))
    guard.decide = allow(subject="somebody-else")
    until(lambda: comes_in(broker, "dev1"), "the record to be dropped")


# SIGHUP


def test_a_reload_disturbs_nobody_and_asks_nobody(broker: Broker, guard: FakeGuard) -> None:
    with Device(broker.port, "stored", clean=False) as stored:
        assert stored.subscribe("stored/#") == 1
    until(lambda: guard.heard(Offline, client_id="stored"), "OFFLINE")
    with Device(broker.port, "dev1") as device, Device(broker.port, "dev2", version=4):
        asked = len(guard.connects)
        broker.reload()
        assert device.publish("dev1/x") in TAKEN
        assert len(guard.connects) == asked
        assert not device.closed.is_set()
        guard.decide = allow(["stored/#"])
        with Device(broker.port, "sender") as sender:
            assert sender.publish("stored/x", b"1") == 0
    guard.decide = allow()
    with Device(broker.port, "stored", clean=False) as again:
        assert again.session_present
        assert again.received() == ("stored/x", b"1")


def test_a_reload_ends_no_session_a_second_time(broker: Broker, guard: FakeGuard) -> None:
    """Mosquitto 2.0 would have it twice in its list of those that expire."""

    def ends() -> list[str]:
        said = [line for line in broker.log.splitlines() if " disconnected" in line]
        return [line for line in said if "dev1" in line or "dev2" in line]

    for name in ("dev1", "dev2"):
        with Device(broker.port, name, clean=False):
            pass
        until(lambda n=name: guard.heard(Offline, client_id=n), "OFFLINE")  # type: ignore[misc]
    guard.push(frames.end("dev1", frames.REVOKED))
    guard.push(frames.end("dev2", frames.FORGOTTEN))
    until(lambda: "dev1: its authorization was revoked" in broker.log, "the END")
    with Device(broker.port, "dev3"):
        before = ends()
        broker.reload()
    assert ends() == before
    for name in ("dev1", "dev2"):
        with Device(broker.port, name, clean=False) as again:
            assert again.session_present


def test_after_a_reload_a_principal_is_no_token(broker: Broker, guard: FakeGuard) -> None:
    with Device(broker.port, "stored", clean=False):
        pass
    broker.reload()
    guard.decide = refuse()
    stranger = Device(broker.port, "stored", clean=False, username="principal-stored", token=None)
    assert stranger.connect() == NOT_AUTHORIZED
    stranger.stop()
    assert guard.connects[-1].username == b"principal-stored"

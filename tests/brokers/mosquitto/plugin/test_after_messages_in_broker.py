# SPDX-License-Identifier: Apache-2.0
"""The plugin in a broker: that a message was allowed a moment ago counts for nothing.

What is looked up for every message is found by its connection. Here each connection has sent
messages, and received them, before something about it changes.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from keyfob.brokers.mosquitto.frames import Offline
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.broker import (
    NOT_AUTHORIZED,
    TAKEN,
    Broker,
    Device,
)
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard, Question, allow, allowed, until

FAILURE = 0x80  # MQTT 3.1.1 section 3.9.3
MESSAGES = 20


def talk(device: Device, topic: str) -> None:
    """Send some messages to itself."""
    assert device.subscribe(topic) == 1
    for number in range(MESSAGES):
        assert device.publish(topic, b"%d" % number) == 0
        assert device.received() == (topic, b"%d" % number)


def test_fewer_rights_count_from_the_next_message_on(broker: Broker, guard: FakeGuard) -> None:
    with Device(broker.port, "dev1") as device, Device(broker.port, "dev2") as other:
        talk(device, "dev1/a")
        talk(other, "dev2/a")
        guard.push(frames.replace(allowed(["dev1/b"], ["dev1/b"]), "dev1", epoch=1))
        until(lambda: "client dev1: its permissions were replaced" in broker.log, "REPLACE")
        assert device.publish("dev1/a") == NOT_AUTHORIZED
        assert device.subscribe("dev1/b") == 1
        guard.decide = allow(["dev1/#"])
        with Device(broker.port, "sender") as sender:
            assert sender.publish("dev1/a", b"not to be seen") == 0
            assert sender.publish("dev1/b", b"allowed") == 0
        assert device.received() == ("dev1/b", b"allowed")
        assert other.publish("dev2/a", b"as before") == 0
        assert other.received() == ("dev2/a", b"as before")


def test_no_message_that_is_sent_after_the_end_is_taken(broker: Broker, guard: FakeGuard) -> None:
    """Not by a millisecond: on the clock that this test shares with the broker."""
    end = time.time() + 0.7

    def decide(connect: Question, request: int) -> bytes:
        grant: dict[str, Any] = {"allowed": allowed(["dev1/#"]), "expires_at": int(end * 1000)}
        return frames.decision(request, connect.epoch, **grant, principal="dev1", subject="dev1")

    guard.decide = decide
    taken = 0
    with Device(broker.port, "dev1") as device:
        while not device.closed.is_set():
            over = time.time() >= end
            code = device.publish("dev1/a")
            assert not (over and code in TAKEN)
            taken += code in TAKEN
    assert taken > 0


def test_a_revoked_connection_sends_nothing_more(broker: Broker, guard: FakeGuard) -> None:
    guard.decide = allow(["dev1/#", "watch/#"], ["{id}/#"])
    with Device(broker.port, "watch") as watch:
        assert watch.subscribe("watch/#") == 1
        device = Device(broker.port, "dev1")
        assert device.connect() == 0
        talk(device, "dev1/a")
        guard.push(frames.end("dev1", frames.REVOKED))
        device.wait_closed()
        assert device.publish("watch/x", b"too late") is None
        device.stop()
        with Device(broker.port, "dev1") as again:
            assert again.publish("watch/x", b"by a new decision") == 0
        assert watch.received() == ("watch/x", b"by a new decision")


def test_who_comes_under_the_same_identifier_has_its_own_rights_alone(
    broker: Broker, guard: FakeGuard
) -> None:
    """The broker gives the same addresses again, so this is done a few times."""
    guard.decide = allow([], ["#"])
    with Device(broker.port, "watch") as watch:
        assert watch.subscribe("#") == 1
        for number in range(5):
            guard.decide = allow([f"{number}/#"], [f"{number}/#"], subject=f"subject-{number}")
            with Device(broker.port, "dev1", version=4) as device:
                talk(device, f"{number}/a")
                device.publish(f"{number - 1}/a", b"forbidden")  # MQTT 3.1.1 does not tell
                assert device.subscribe(f"{number - 1}/a") == FAILURE
                device.publish(f"{number}/b", b"allowed")
            until(partial(guard.heard, Offline, epoch=guard.connects[-1].epoch), "OFFLINE")
            seen = [watch.received() for _ in range(MESSAGES + 1)]
            assert seen[-1] == (f"{number}/b", b"allowed")
            assert {payload for _, payload in seen}.isdisjoint({b"forbidden"})

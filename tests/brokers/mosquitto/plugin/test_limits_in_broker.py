# SPDX-License-Identifier: Apache-2.0
"""What Mosquitto asks a plugin otherwise than one may think, or not at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import mqtt5
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.beside import JWT
from tests.brokers.mosquitto.plugin.broker import (
    NOT_AUTHORIZED,
    Broker,
    Device,
    Plugin,
    build_plugin,
)
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard, allow, allowed, until

Make = Callable[..., Broker]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    return build_plugin(tmp_path_factory.mktemp("plugin"), "plain")


def test_behind_a_mount_point_a_filter_has_to_name_it(make: Make, guard: FakeGuard) -> None:
    """Mosquitto asks about the topic as it has it itself; 2.0.11 delivers it as that, too."""
    with make("mount_point site/") as broker:
        with Device(broker.port, "dev1") as device:
            assert device.publish("dev1/x") == NOT_AUTHORIZED
            assert device.subscribe("dev1/#") == NOT_AUTHORIZED
        guard.decide = allow(["site/{id}/#"], ["site/{id}/#"])
        with Device(broker.port, "dev1") as device:
            assert device.subscribe("dev1/#") == 1
            assert device.publish("dev1/x", b"1") == 0
            assert device.received()[0] in ("dev1/x", "site/dev1/x")


def test_what_was_queued_for_a_slow_client_is_delivered_also_when_its_rights_have_shrunk(
    make: Make, guard: FakeGuard
) -> None:
    """Mosquitto asks when it queues and when a session is resumed, and not when it sends."""
    with make("max_inflight_messages 1") as broker, mqtt5.Client(broker.port, "dev1") as slow:
        answer = slow.connect(JWT.encode())
        assert answer is not None
        assert answer.reason == 0
        assert slow.subscribe("dev1/#") == 1
        epoch = guard.connects[-1].epoch
        guard.decide = allow(["dev1/#"])
        with Device(broker.port, "sender") as sender:
            for i in range(3):
                assert sender.publish(f"dev1/{i}", b"x") == 0
            guard.push(frames.replace(allowed(), "dev1", epoch=epoch))
            until(lambda: "dev1: its permissions were replaced" in broker.log, "the replacement")
            assert sender.publish("dev1/3", b"x") in (0, 0x10)
        assert [slow.received()[0] for _ in range(3)] == ["dev1/0", "dev1/1", "dev1/2"]
        assert slow.nothing_waits()

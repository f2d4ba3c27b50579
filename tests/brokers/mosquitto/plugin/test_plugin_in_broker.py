# SPDX-License-Identifier: Apache-2.0
"""The plugin in the broker that people run: who comes in, and what clients may do there."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.frames import Admitted, Offline
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.broker import (
    NOT_AUTHORIZED,
    TAKEN,
    Broker,
    Device,
    Plugin,
    devices,
    told,
)
from tests.brokers.mosquitto.plugin.certificates import Listener
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard, allow, allowed, refuse, until

# Coming in


def test_a_client_with_a_good_token_comes_in_as_its_principal(
    broker: Broker, guard: FakeGuard
) -> None:
    with Device(broker.port, "dev1", token="very-secret-token"):
        until(lambda: guard.heard(Admitted, client_id="dev1"), "ADMITTED")
        asked = guard.connects[0]
        assert asked.client_id == "dev1"
        assert asked.username is None
        assert asked.password == b"very-secret-token"
        assert (asked.protocol_level, asked.clean, asked.assigned) == (5, True, False)
        assert (asked.peer, asked.certificate_thumbprint) == ("127.0.0.1", b"")
    assert "u'principal-dev1'" in broker.log
    assert "very-secret-token" not in broker.log


@pytest.mark.parametrize("version", [4, 5])
def test_a_client_without_a_good_token_is_refused(
    broker: Broker, guard: FakeGuard, version: int
) -> None:
    guard.decide = refuse(0x86)
    device = Device(broker.port, "dev1", version=version, username="a-token", token="b-token")
    assert device.connect() == told(broker, 0x86, version)
    device.stop()
    assert guard.connects[0].username == b"a-token"
    assert not guard.heard(Admitted)
    assert "token" not in broker.log
    assert "client dev1 refused: by the guard (0x86)" in broker.log


@pytest.mark.parametrize("version", [4, 5])
def test_unavailable_does_not_look_like_a_bad_token(
    broker: Broker, guard: FakeGuard, version: int
) -> None:
    guard.decide = refuse(0x88)
    device = Device(broker.port, "dev1", version=version)
    assert device.connect() == told(broker, 0x88, version)
    device.stop()


def test_an_identifier_that_the_broker_made_up_is_told_as_such(
    broker: Broker, guard: FakeGuard
) -> None:
    with Device(broker.port, ""):
        assert guard.connects[-1].assigned
        assert guard.connects[-1].client_id.startswith("auto-")
    for looks_alike in ("auto-0123", "auto-" + "x" * 36, "auto-" + "0" * 36):
        with Device(broker.port, looks_alike):
            assert not guard.connects[-1].assigned


def test_a_session_is_not_handed_to_another_subject(broker: Broker, guard: FakeGuard) -> None:
    """Even where the guard would: what the broker holds for the first would be the second's."""
    with Device(broker.port, "dev1", clean=False) as first:
        guard.decide = allow(subject="somebody-else")
        second = Device(broker.port, "dev1")
        assert second.connect() == NOT_AUTHORIZED
        second.stop()
        assert first.publish("dev1/still-there") in TAKEN
    third = Device(broker.port, "dev1", clean=False)
    assert third.connect() == NOT_AUTHORIZED
    third.stop()


def test_a_client_that_comes_again_takes_its_own_place(broker: Broker, guard: FakeGuard) -> None:
    with Device(broker.port, "dev1") as first, Device(broker.port, "dev1") as second:
        first.wait_closed()
        assert second.publish("dev1/up") in TAKEN
        assert not guard.heard(Offline)
    until(lambda: guard.heard(Offline, epoch=2), "OFFLINE of the second")


@pytest.mark.parametrize("name", ["stranger", "principal-dev1"])
def test_what_an_absent_client_left_is_not_for_whom_something_else_let_in(
    directory: Path, plugin: Plugin, guard: FakeGuard, name: str
) -> None:
    """With use_identity_as_username the broker asks no plugin, and any identifier will do."""
    listener = Listener(directory, name)
    lines = (*listener.lines, "use_identity_as_username true")
    with Broker(directory, plugin, guard.path, lines=lines) as broker:
        with Device(broker.port, "dev1", clean=False) as device:
            assert device.subscribe("dev1/#") == 1
        until(lambda: guard.heard(Offline, client_id="dev1"), "OFFLINE")
        guard.decide = allow(["dev1/#"])
        with Device(broker.port, "sender") as sender:
            assert sender.publish("dev1/x", b"queued") == 0
        for _ in range(2):
            with Device(listener.port, "dev1", clean=False, tls=listener.tls) as thief:
                assert thief.publish("dev1/x") == NOT_AUTHORIZED
                assert thief.subscribe("dev1/#") == NOT_AUTHORIZED
                assert thief.messages.empty()
        assert len(guard.connects) == 2


@pytest.mark.parametrize("principal", ["", "a\nb", "\x1b[2J"])
def test_a_principal_that_would_forge_the_brokers_log_lets_nobody_in(
    broker: Broker, guard: FakeGuard, principal: str
) -> None:
    guard.decide = lambda connect, request: frames.decision(
        request, connect.epoch, allowed=allowed(), principal=principal
    )
    device = Device(broker.port, "dev1")
    assert device.connect() == NOT_AUTHORIZED
    device.stop()


# Publishing, subscribing, being sent


def test_a_client_may_do_what_its_permissions_say_and_nothing_else(
    broker: Broker, guard: FakeGuard
) -> None:
    guard.decide = allow(publish=["up/#"], subscribe=["down/+", "$share/g/work"])
    with Device(broker.port, "dev1") as device:
        assert device.publish("up/x") in TAKEN
        assert device.publish("down/x") == NOT_AUTHORIZED
        assert device.subscribe("down/x") == 1
        assert device.subscribe("down/+") == 1
        assert device.subscribe("down/#") == NOT_AUTHORIZED
        assert device.subscribe("$share/g/work") == 1
        assert device.subscribe("$share/h/work") == NOT_AUTHORIZED
        assert device.subscribe("$SYS/#") == NOT_AUTHORIZED


def test_an_old_client_is_told_of_a_refused_subscription(broker: Broker, guard: FakeGuard) -> None:
    with Device(broker.port, "dev1", version=4) as device:
        assert device.subscribe("dev1/#") == 1
        assert device.subscribe("dev2/#") == 0x80
        assert device.publish("dev2/x") == 0  # MQTT 3.1.1 cannot refuse: it is dropped
        assert device.publish("dev1/x", b"1") == 0
        assert device.received() == ("dev1/x", b"1")


def test_messages_reach_those_who_may_have_them(broker: Broker, guard: FakeGuard) -> None:
    guard.decide = allow(publish=["{id}/#"], subscribe=["dev1/public", "dev1/public/#"])
    with devices(broker.port, ["dev1", "dev2"]) as (sender, reader):
        assert reader.subscribe("dev1/public/#") == 1
        assert sender.publish("dev1/private", b"0") in TAKEN
        assert sender.publish("dev1/public/a", b"1") == 0
        assert reader.received() == ("dev1/public/a", b"1")
        assert reader.messages.empty()


def test_the_thumbprint_of_a_clients_certificate_reaches_the_guard(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    listener = Listener(directory, "dev1")
    with (
        Broker(directory, plugin, guard.path, lines=listener.lines),
        Device(listener.port, "dev1", tls=listener.tls),
    ):
        assert guard.connects[0].certificate_thumbprint == listener.thumbprint

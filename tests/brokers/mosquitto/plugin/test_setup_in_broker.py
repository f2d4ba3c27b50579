# SPDX-License-Identifier: Apache-2.0
"""The plugin in brokers that are set up in other ways, rightly and wrongly."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.frames import Offline
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.broker import (
    DENIED,
    NOT_AUTHORIZED,
    TAKEN,
    Broker,
    Device,
    Plugin,
    comes_in,
    unavailable,
    version_of,
)
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard, allow, until
from tests.free_ports import free_port
from tests.mqtt5 import Client

ADMINISTRATIVE_ACTION = 0x98


def test_a_listener_of_its_own_works_and_denies_what_has_run_out(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    """With per_listener_settings 2.0.11 never calls TICK, but everything is denied at once."""
    with Broker(directory, plugin, guard.path, per_listener=True) as broker:
        guard.decide = allow(seconds=0.5)
        with Device(broker.port, "dev1") as device:
            until(lambda: device.publish("dev1/x") in DENIED, "the end of the token")
        guard.decide = allow()
        with Device(broker.port, "dev2") as device:
            broker.reload()
            assert device.publish("dev2/x") in TAKEN
            guard.push(frames.end("dev2", frames.REVOKED))
            until(lambda: device.publish("dev2/x") in DENIED, "the revocation")


def test_with_listeners_of_their_own_what_is_over_ends_when_anybody_connects(
    directory: Path, plugin: Plugin, guard: FakeGuard, any_program: str
) -> None:
    """At the latest: Mosquitto from 2.0.15 on calls TICK there, too, and they end at once."""
    guard.decide = allow(["watcher/will"], ["+/will"])
    with (
        Broker(directory, plugin, guard.path, per_listener=True, program=any_program) as broker,
        Device(broker.port, "watcher") as watcher,
    ):
        assert watcher.subscribe("+/will") == 1
        guard.decide = allow(seconds=0.5)
        with Device(broker.port, "dev1", clean=False, will="dev1/will") as device:
            until(lambda: device.publish("dev1/x") in DENIED, "the end of the token")
            guard.decide = allow()
            assert comes_in(broker, "anybody")
            device.wait_closed()
            assert device.disconnect_reason == ADMINISTRATIVE_ACTION
        assert watcher.received() == ("dev1/will", b"gone")
        with Device(broker.port, "dev2", clean=False, will="dev2/will") as device:
            guard.push(frames.end("dev2", frames.REVOKED))
            until(lambda: device.publish("dev2/x") in DENIED, "the revocation")
            with Client(broker.port, "anybody", "OAUTH2-JWT") as anybody:
                assert anybody.connect(b"a-token") is not None
            device.wait_closed()
            assert device.disconnect_reason == ADMINISTRATIVE_ACTION
        assert watcher.publish("watcher/will", b"own") == 0
        assert watcher.received() == ("watcher/will", b"own")  # and no will of dev2 before it


def test_who_comes_back_while_its_own_end_is_due_is_let_in(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    with Broker(directory, plugin, guard.path, per_listener=True) as broker:
        guard.decide = allow(seconds=0.5)
        with Device(broker.port, "dev1", clean=False) as device:
            assert device.subscribe("dev1/#") == 1
            until(lambda: device.publish("dev1/x") in DENIED, "the end of the token")
            guard.decide = allow()
            with Device(broker.port, "dev1", clean=False) as again:
                device.wait_closed()
                assert again.session_present
                assert again.publish("dev1/own", b"own") == 0
                until(lambda: again.received() == ("dev1/own", b"own"), "its own message")


def test_without_a_tick_nobody_is_closed_while_a_reload_may_last(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    """The broker would go on with a client that is closed in the middle of its walk."""
    with Broker(directory, plugin, guard.path, per_listener=True) as broker:
        if version_of(broker.program) >= (2, 0, 15):
            pytest.skip("this Mosquitto calls TICK")
        guard.decide = allow(seconds=0.5)
        with Device(broker.port, "dev1") as device:
            until(lambda: device.publish("dev1/x") in DENIED, "the end of the token")
            broker.reload()
            guard.decide = allow()
            assert comes_in(broker, "anybody")
            assert device.publish("dev1/x") == NOT_AUTHORIZED  # and not the end


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"guard_sokcet": "/x"}, "guard_sokcet is not an option"),
        ({"guard_socket": "relative"}, "guard_socket must be an absolute path"),
        ({"guard_timeout_ms": "0"}, "guard_timeout_ms must be a number from 1 to 10000"),
        ({"decision_timeout_ms": "99"}, "decision_timeout_ms must be a number from 100 to 60000"),
        ({"decisions": "later"}, "decisions must be auto, blocking or delayed"),
        ({"mode": "both"}, "mode must be exclusive or mixed"),
        ({"offline_records": "many"}, "offline_records must be a number"),
        ({"guard_users": "root no-such-user"}, "guard_users names a user that does not exist"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_option_stops_the_broker_and_is_named(
    directory: Path, plugin: Plugin, options: dict[str, str], complaint: str
) -> None:
    broker = Broker(directory, plugin, directory / "none.sock", options)
    broker.start(wait=False)
    assert broker.process is not None
    assert broker.process.wait(10) != 0
    assert complaint in broker.log
    assert broker.reports() == ""


def test_listeners_differ_in_their_mode_and_in_nothing_else(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    lines = (
        f"listener {free_port()} 127.0.0.1",
        f"plugin {plugin.library}",
        f"plugin_opt_guard_socket {guard.path}",
        "plugin_opt_broker_name another",
    )
    broker = Broker(directory, plugin, guard.path, lines=lines, per_listener=True)
    broker.start(wait=False)
    assert broker.process is not None
    assert broker.process.wait(10) != 0
    assert "options, but for mode, must be the same for every listener" in broker.log
    assert broker.reports() == ""


def _forwarded(port: int, said: bytes) -> None:
    """Send a CONNECT over a WebSocket that says on whose behalf; wait for what comes of it."""
    key, mask = base64.b64encode(os.urandom(16)), os.urandom(4)
    packet = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04dev1"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
            b"Sec-WebSocket-Key: " + key + b"\r\nX-Forwarded-For: " + said + b"\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 101")
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(packet))
        connection.sendall(bytes([0x82, 0x80 | len(packet)]) + mask + masked)
        connection.recv(100)


def test_no_address_that_a_websocket_client_makes_up_breaks_the_link(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    """Mosquitto 2.0.21 with libwebsockets takes it from X-Forwarded-For, whatever that says."""
    port = free_port()
    lines = (f"listener {port} 127.0.0.1", "protocol websockets")
    with Broker(directory, plugin, guard.path, lines=lines):
        for said in (b"203.0.113.9", b"\xff\xfe", b"1" * 256):
            _forwarded(port, said)
        assert len(guard.connects) == 3
        assert all(len(connect.peer) < 50 for connect in guard.connects)
        assert guard.accepted == 1


def test_one_device_cannot_evict_the_sessions_of_others(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    """With ever new identifiers that the broker assigns; nobody can come back to these."""
    with Broker(directory, plugin, guard.path, {"offline_records": "3"}) as broker:
        with Device(broker.port, "dev1", clean=True, kept=True) as device:
            assert device.subscribe("dev1/#") == 1
        until(lambda: guard.heard(Offline, client_id="dev1", kept=True), "OFFLINE")
        for epoch in range(2, 7):
            with Device(broker.port, ""):
                pass
            until(lambda epoch=epoch: guard.heard(Offline, epoch=epoch), "OFFLINE")  # type: ignore[misc]
        assert not guard.heard(Offline, client_id="dev1", kept=False)
        guard.decide = allow(["dev1/#"])
        with Device(broker.port, "sender") as sender:
            assert sender.publish("dev1/x", b"queued") == 0
        guard.decide = allow()
        with Device(broker.port, "dev1", clean=False) as again:
            assert again.received() == ("dev1/x", b"queued")


LISTEN_AS_NOBODY = """
import os, socket, sys, time
os.setgid(65534); os.setuid(65534)
listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); listener.listen()
print("listening", flush=True); time.sleep(60)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_socket_of_another_user_is_not_trusted(directory: Path, plugin: Plugin) -> None:
    directory.chmod(0o777)
    path = directory / "foreign.sock"
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN_AS_NOBODY, path], stdout=subprocess.PIPE, text=True
    ) as stranger:
        try:
            assert stranger.stdout is not None
            assert stranger.stdout.readline() == "listening\n"
            with Broker(directory, plugin, path, {"startup_wait_ms": "0"}) as broker:
                assert "runs as a user that guard_users does not name" in broker.log
                device = Device(broker.port, "dev1")
                assert device.connect() == unavailable()
                device.stop()
            named = {"startup_wait_ms": "0", "guard_users": "nobody"}
            (directory / "broker.log").unlink()
            with Broker(directory, plugin, path, named) as broker:
                assert "guard_users" not in broker.log
        finally:
            stranger.kill()

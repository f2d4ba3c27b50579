# SPDX-License-Identifier: Apache-2.0
"""Clients that others let in are taken neither for those of tokens nor for nobody."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.frames import Offline
from tests.brokers.mosquitto.plugin.beside import JWT, acl_file, password_file
from tests.brokers.mosquitto.plugin.broker import (
    DENIED,
    NOT_AUTHORIZED,
    TAKEN,
    Broker,
    Device,
    Plugin,
    build_plugin,
    is_2_1,
)
from tests.brokers.mosquitto.plugin.certificates import Listener
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard, allow, until
from tests.free_ports import free_port

Make = Callable[..., Broker]

# The broker's allocator gives the address of what was freed last to whoever comes next, or nearly.
TRIES = 8


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    """As it is built for users: a sanitizer gives no address away a second time."""
    return build_plugin(tmp_path_factory.mktemp("plugin"), "plain")


def comes_and_goes(broker: Broker, guard: FakeGuard, name: str) -> None:
    """Have a session by a token that ends with its connection."""
    told = len(guard.told)
    with Device(broker.port, name, token=JWT) as device:
        assert device.publish(f"{name}/x") in TAKEN
    until(lambda: any(isinstance(each, Offline) for each in guard.told[told:]), "OFFLINE")


def test_a_password_has_nothing_of_a_token_whose_session_is_over(
    make: Make, directory: Path, guard: FakeGuard, any_program: str
) -> None:
    """Also under its identifier, with its principal as the name, where it was in memory."""
    if not is_2_1(any_program):
        pytest.skip("2.0 does not tell that a session is over, so none but its owner comes in")
    acl = acl_file(directory, "user mower\ntopic readwrite lawn/#\n")
    guard.decide = allow(principal="mower")
    with make(*password_file(directory), acl, mode="mixed") as broker:
        for i in range(TRIES):
            name = f"dev{i}"
            comes_and_goes(broker, guard, name)
            with Device(broker.port, name, username="mower", token="grass") as device:
                assert device.publish(f"{name}/x") == NOT_AUTHORIZED
                assert device.publish("lawn/x") in TAKEN


def test_a_certificate_has_nothing_of_a_token_whose_session_is_over(
    make: Make, directory: Path, guard: FakeGuard, any_program: str
) -> None:
    """The same where Mosquitto asks nobody whether it may come in."""
    listener = Listener(directory)
    guard.decide = allow(principal="holder")
    with make(*listener.lines, "use_identity_as_username true") as broker:
        for i in range(TRIES):
            name = f"dev{i}"
            comes_and_goes(broker, guard, name)
            with Device(listener.port, name, tls=listener.tls) as stranger:
                assert stranger.publish(f"{name}/x") == NOT_AUTHORIZED


def test_a_pre_shared_key_has_next_to_nothing_of_a_token_whose_session_is_over(
    make: Make, directory: Path, guard: FakeGuard, any_program: str
) -> None:
    """The first message may be taken for the will in 2.0, which shows nothing of such a client."""
    port, key = free_port(), "0123456789abcdef"
    keys = directory / "keys"
    keys.write_text(f"holder:{key}\n")
    keys.chmod(0o600)
    listener = (f"listener {port} 127.0.0.1", "allow_anonymous false", "psk_hint any")
    guard.decide = allow(principal="holder")
    with make(*listener, f"psk_file {keys}", "use_identity_as_username true") as broker:
        for i in range(TRIES):
            name = f"dev{i}"
            comes_and_goes(broker, guard, name)
            command = ["mosquitto_pub", "-V", "5", "-h", "127.0.0.1", "-p", str(port), "-d", "-l"]
            command += ["--psk", key, "--psk-identity", "holder", "-i", name, "-q", "1"]
            said = subprocess.run(
                [*command, "-t", f"{name}/x"],
                input="1\n2\n3\n",
                capture_output=True,
                text=True,
                check=False,
            ).stdout
            first, *others = [int(code) for code in re.findall(r"PUBACK .*RC:(\d+)", said)]
            assert others == [NOT_AUTHORIZED] * 2
            assert first == NOT_AUTHORIZED or not is_2_1(any_program)


@pytest.mark.parametrize("delay", [0, 1])
def test_whoever_had_a_certificate_has_a_will_all_the_same(
    make: Make, directory: Path, guard: FakeGuard, delay: int
) -> None:
    """Its connection, with the certificate, may be there when the broker asks, or be closed."""
    listener = Listener(directory)
    guard.decide = allow(subscribe=["#"])
    with (
        make(*listener.lines) as broker,
        Device(broker.port, "watch", token=JWT) as watch,
    ):
        assert watch.subscribe("#") == 1
        leaving = Device(
            listener.port,
            "dev1",
            kept=True,
            token=JWT,
            will="dev1/will",
            will_delay=delay,
            tls=listener.tls,
        )
        assert leaving.connect() == 0
        leaving.vanish()
        assert watch.received() == ("dev1/will", b"gone")
        leaving.stop()


def test_what_is_owed_to_somebody_anonymous_outlives_the_broker(
    make: Make, directory: Path
) -> None:
    """A session from the disk has neither a username nor an address, and is somebody's.

    Lines of `topic` Mosquitto 2.0 does not apply to it.
    """
    acl = acl_file(directory, "pattern readwrite lawn/#\n")
    with make("allow_anonymous true", "persistence true", acl, mode="mixed") as broker:
        with Device(broker.port, "anybody", token=None, clean=False) as device:
            assert device.subscribe("lawn/#") == 1
        broker.stop()
        broker.start()
        with Device(broker.port, "sender", token=None) as sender:
            assert sender.publish("lawn/x", b"owed") == 0
            assert sender.publish("dev1/x") in DENIED
        with Device(broker.port, "anybody", token=None, clean=False) as device:
            assert device.session_present
            assert device.received() == ("lawn/x", b"owed")

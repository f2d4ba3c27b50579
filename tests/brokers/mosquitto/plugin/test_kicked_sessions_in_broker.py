# SPDX-License-Identifier: Apache-2.0
"""What closing a client without a connection does in each Mosquitto: why the plugin does not.

Another plugin does it here, beside ours, to the session of a revoked device that is away
(docs/mosquitto.md, "Sessions without a connection").
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from keyfob.brokers.mosquitto.frames import Offline
from tests import mqtt5
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.beside import JWT
from tests.brokers.mosquitto.plugin.broker import Broker, Device, Plugin, build_plugin, is_2_1
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard, allow, until
from tests.brokers.mosquitto.plugin.runner import PLUGIN

NO_SUBSCRIBERS: Final = 0x10
HOUR: Final = 3600
OVERWRITTEN: Final = ("env", "MALLOC_PERTURB_=165", "GLIBC_TUNABLES=glibc.malloc.tcache_count=0")


def sleeping(seconds: int) -> Iterator[None]:
    """Sleep so long, a second at a time."""
    for _ in range(seconds):
        time.sleep(1)
        yield


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    return build_plugin(tmp_path_factory.mktemp("plugin"), "plain")


@pytest.fixture(scope="module")
def kicking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("kicking") / "kicking.so"
    source = Path(__file__).with_name("kicking_plugin.c")
    command = [os.environ.get("CC", "cc"), "-fPIC", "-shared", "-std=c11", "-Wall", "-Wextra"]
    command += ["-Werror", "-D_GNU_SOURCE", f"-I{PLUGIN}", str(source), "-o", str(library)]
    subprocess.run(command, check=True)
    return library


class Kicked:
    """A broker in which clients are closed."""

    def __init__(
        self, directory: Path, plugin: Plugin, guard: FakeGuard, kicking: Path, program: str
    ) -> None:
        self._guard = guard
        self._ask = directory / "ask"
        lines = (f"plugin {kicking}", f"plugin_opt_ask {self._ask}")
        self.broker = Broker(directory, plugin, guard.path, lines=lines, program=program)

    def leaves_a_session(self, name: str) -> None:
        with mqtt5.Client(self.broker.port, name) as client:
            answer = client.connect(JWT.encode(), clean=False, expiry=HOUR)
            assert answer is not None
            assert answer.reason == 0
            assert client.subscribe(f"{name}/#") == 1
        until(partial(self._guard.heard, Offline, client_id=name), "OFFLINE")

    def is_revoked(self, name: str) -> None:
        self._guard.push(frames.end(name, frames.REVOKED))
        revoked = f"client {name}: its authorization was revoked"
        until(lambda: revoked in self.broker.log, "the revocation")

    def is_kicked(self, name: str) -> None:
        new = self._ask.with_suffix(".new")
        new.write_text(name)
        new.rename(self._ask)
        until(lambda: f"kicking: {name}: 0" in self.broker.log, "the kick")

    def comes_back(self, name: str) -> Device:
        """Return a device that was enabled again and resumes its session."""
        return Device(self.broker.port, name, token=JWT, clean=False)


def test_the_subscriptions_of_a_kicked_session_are_gone_and_the_session_is_not(
    directory: Path, plugin: Plugin, guard: FakeGuard, kicking: Path, any_program: str
) -> None:
    """In every version; those of a session that was not kicked come back with the device."""
    guard.decide = allow(["#"])
    house = Kicked(directory, plugin, guard, kicking, any_program)
    with house.broker as broker:
        for name in ("kicked", "left"):
            house.leaves_a_session(name)
            house.is_revoked(name)
        house.is_kicked("kicked")
        with Device(broker.port, "sender", token=JWT) as sender:
            for name, code in (("kicked", NO_SUBSCRIBERS), ("left", 0)):
                with house.comes_back(name) as device:
                    assert device.session_present
                    assert sender.publish(f"{name}/x", b"after") == code
                    assert device.subscribe(f"{name}/#") == 1
                    assert sender.publish(f"{name}/x", b"later") == 0


def test_a_kicked_session_that_ends_later_has_2_0_use_memory_that_it_freed(
    directory: Path, plugin: Plugin, guard: FakeGuard, kicking: Path, any_program: str
) -> None:
    """It is twice in the list of those that expire (session_expiry__add); in 2.1 it is not.

    That list is looked at every second. What is freed is overwritten at once here: as a time it is
    long ago, and as a pointer it leads nowhere.
    """
    house = Kicked(directory, plugin, guard, kicking, any_program)
    house.broker.under = OVERWRITTEN
    house.broker.start()
    process = house.broker.process
    assert process is not None
    house.broker.process = None
    try:
        house.leaves_a_session("dev1")
        house.is_revoked("dev1")
        house.is_kicked("dev1")
        with mqtt5.Client(house.broker.port, "dev1") as client:
            answer = client.connect(JWT.encode(), clean=True)
            assert answer is not None
            assert answer.reason == 0
            if is_2_1(any_program):
                assert all(client.ping() for _ in sleeping(3))
            else:
                until(lambda: process.poll() is not None, "the broker to use what it freed")
    finally:
        process.kill()
        process.wait()

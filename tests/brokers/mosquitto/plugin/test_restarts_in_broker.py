# SPDX-License-Identifier: Apache-2.0
"""Broker and guard, both real, stop and start in every order while devices are away."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from keyfob.guard.revocations import Revocation
from tests.brokers.mosquitto.linking import ISSUER, token
from tests.brokers.mosquitto.plugin.beside import library_of
from tests.brokers.mosquitto.plugin.broker import Broker, Device, Plugin, build_plugin
from tests.brokers.mosquitto.plugin.fake_guard import until
from tests.brokers.mosquitto.plugin.one_worker import OneWorker

ORDERS: Final = (
    "broker",
    "guard",
    "broker, guard: the guard is first again",
    "broker, guard: the broker is first again",
    "guard, broker: the guard is first again",
    "guard, broker: the broker is first again",
)


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    return build_plugin(tmp_path_factory.mktemp("plugin"), "plain")


class House:
    """A broker and a guard that can be away, and come back with what they had stored."""

    def __init__(self, directory: Path, plugin: Plugin) -> None:
        self._directory = directory
        self.broker = Broker(
            directory,
            plugin,
            directory / "guard.sock",
            {"startup_wait_ms": "500"},
            lines=("persistence true",),
        )
        self.guard = self._a_guard()

    def _a_guard(self) -> OneWorker:
        return OneWorker(self._directory / "guard.sock", file=self._directory / "guard.db")

    def stop(self, part: str) -> None:
        if part == "guard":
            self.guard.__exit__(None, None, None)
        else:
            self.broker.stop()

    def start(self, part: str) -> None:
        if part == "guard":
            self.guard = self._a_guard()
            self.guard.__enter__()
        else:
            self.broker.start()

    def lose_the_guards_file(self) -> None:
        self.stop("guard")
        for file in self._directory.glob("guard.db*"):
            file.unlink()
        self.start("guard")


@pytest.fixture
def house(directory: Path, plugin: Plugin) -> Iterator[House]:
    here = House(directory, plugin)
    here.guard.__enter__()
    here.broker.start()
    yield here
    here.broker.stop()
    here.guard.__exit__(None, None, None)


def restart(house: House, order: str) -> None:
    gone, _, then = order.partition(":")
    parts = gone.split(", ")
    for part in parts:
        house.stop(part)
    first = "guard" if "guard" in then else "broker"
    for part in sorted(parts, key=lambda part: part != first):
        house.start(part)


def fresh(name: str, *, issued_before: float = 0.0) -> str:
    now = int(time.time())
    rights = f"mqtt.connect mqtt.publish:%23 mqtt.subscribe:{name}/%23"
    return token(name, iat=int(now - issued_before), exp=now + 600, scope=rights).decode()


@contextlib.contextmanager
def comes_back(house: House, name: str) -> Iterator[Device]:
    """Connect again, once the guard can be asked."""
    tried: list[Device] = []

    def is_in() -> bool:
        tried.append(Device(house.broker.port, name, clean=False, token=fresh(name)))
        if tried[-1].connect() == 0:
            return True
        tried[-1].stop()
        return False

    until(is_in, f"{name} to come in")
    yield tried[-1]
    tried[-1].stop()


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_owed_is_kept_and_what_was_revoked_is_not_whoever_restarts(
    house: House, order: str
) -> None:
    """Semantics: a stored session outlives both; a revocation outlives it, once."""
    names = ("good", "revoked")
    for name in names:
        bearer = fresh(name, issued_before=60)
        with Device(house.broker.port, name, clean=False, token=bearer) as device:
            assert device.subscribe(f"{name}/#") == 1
    with Device(house.broker.port, "sender", token=fresh("sender")) as sender:
        for name in names:
            assert sender.publish(f"{name}/x", b"before") == 0
    revocation = Revocation(
        issuer=ISSUER, subject="revoked", issued_before=time.time() - 30, until=time.time() + 600
    )
    house.guard.do(lambda guard: guard.revoke(revocation))
    until(lambda: "revoked: its authorization was revoked" in house.broker.log, "the plugin")
    restart(house, order)
    with comes_back(house, "sender") as sender:
        for name, owed in (("good", [b"before"]), ("revoked", [])):
            with comes_back(house, name) as device:
                assert device.session_present
                assert device.subscribe(f"{name}/#") == 1
                assert sender.publish(f"{name}/x", b"after") == 0
                came = [device.received()[1] for _ in (*owed, b"after")]
                assert came == [*owed, b"after"]
            assert sender.publish(f"{name}/x", b"later") == 0
            with comes_back(house, name) as device:
                assert device.received() == (f"{name}/x", b"later")


def test_a_session_begun_afresh_is_kept_by_a_guard_that_knows_it_from_the_plugin_alone(
    house: House, newest: str
) -> None:
    """MQTT 5: a clean start says nothing of the end.

    The guard lost its file, then the broker restarts, and asks whose sessions these are.
    Mosquitto's own file has no session that began so; that of its SQLite plugin has.
    """
    house.broker.stop()
    house.broker.program = newest
    house.broker.lines = (f"global_plugin {library_of(newest, 'mosquitto_persist_sqlite.so')}",)
    house.broker.start()
    with Device(house.broker.port, "dev", kept=True, token=fresh("dev")) as device:
        assert device.subscribe("dev/#") == 1
        before = house.broker.log.count("linked to the guard")
        house.lose_the_guards_file()
        until(lambda: house.broker.log.count("linked to the guard") > before, "a new link")
        device.vanish()
    restart(house, "broker")
    with comes_back(house, "sender") as sender:
        assert sender.publish("dev/x", b"owed") == 0
    with comes_back(house, "dev") as device:
        assert device.session_present
        assert device.received() == ("dev/x", b"owed")

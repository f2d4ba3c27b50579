# SPDX-License-Identifier: Apache-2.0
"""Guard and broker killed and restarted, alone and together: nothing that is owed is lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Client, Installation, installation, until


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose parts are killed, and that saves every change."""
    directory: Path = tmp_path_factory.mktemp("breakable") / "data"
    with installation(directory, mosquitto=["save_every_change = true"]) as up:
        yield up


def reconnect(running: Installation, device: str, secret: str) -> Client:
    """Connect as a device would: again and again, until the system is back."""
    client = running.client(device, clean=False)

    def admitted() -> bool:
        try:
            return client.try_connect(device, running.token(device, secret)) == 0
        except OSError:
            return False

    until(f"{device} is let in again", admitted)
    return client


def test_a_killed_guard_costs_no_message_and_comes_back_by_itself(breakable: Installation) -> None:
    publisher = breakable.client("kp").connect(breakable.device_token("kp", "--publish", "k/#"))
    reader = breakable.client("kr").connect(breakable.device_token("kr", "--subscribe", "k/#"))
    reader.subscribe("k/#")
    broker = breakable.pid("mosquitto")
    newcomer = breakable.device_token("newcomer", "--publish", "k/#")

    breakable.kill("guard", signal.SIGSTOP)  # so that the supervisor cannot hide the gap
    sent = [publisher.paho.publish("k/n", str(n), qos=1) for n in range(500)]
    unavailable = breakable.connack(0x88)
    assert breakable.client("newcomer").try_connect("newcomer", newcomer) == unavailable
    old = breakable.kill("guard")
    sent += [publisher.paho.publish("k/n", str(n), qos=1) for n in range(500, 1000)]
    breakable.wait_restarted("guard", old)
    for info in sent:
        info.wait_for_publish(20)
    until("all messages", lambda: len(reader.messages) >= 1000)
    assert [payload for _, payload in reader.messages] == [str(n).encode() for n in range(1000)]
    assert set(publisher.acknowledged.values()) == {0}
    until(
        "new connects work again",
        lambda: breakable.client("newcomer").try_connect("newcomer", newcomer) == 0,
    )
    assert publisher.disconnects == []
    assert reader.disconnects == []
    assert breakable.pid("mosquitto") == broker


ORDERS: list[tuple[tuple[str, signal.Signals], ...]] = [
    (("mosquitto", signal.SIGTERM),),
    (("mosquitto", signal.SIGKILL),),
    (("guard", signal.SIGKILL), ("mosquitto", signal.SIGKILL)),
    (("mosquitto", signal.SIGKILL), ("guard", signal.SIGKILL)),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda o: "-".join(f"{n}:{s.name}" for n, s in o))
def test_a_persistent_session_keeps_what_it_was_owed(
    breakable: Installation, order: tuple[tuple[str, signal.Signals], ...]
) -> None:
    tag = f"o{ORDERS.index(order)}"
    secret = breakable.add_device(f"{tag}s", "--subscribe", f"{tag}/#")
    publisher_secret = breakable.add_device(f"{tag}p", "--publish", f"{tag}/#")
    sleeper = reconnect(breakable, f"{tag}s", secret)
    assert sleeper.subscribe(f"{tag}/#") == 1
    sleeper.drop()
    publisher = reconnect(breakable, f"{tag}p", publisher_secret)
    assert publisher.publish(f"{tag}/1", "before") == 0

    killed = {name: breakable.kill(name, number) for name, number in order}
    for name, pid in killed.items():
        breakable.wait_restarted(name, pid)

    # Published after the restart, before the sleeper is back: it must be queued for it too.
    publisher = reconnect(breakable, f"{tag}p", publisher_secret)
    assert publisher.publish(f"{tag}/2", "between") == 0
    sleeper = reconnect(breakable, f"{tag}s", secret)
    assert sleeper.session_present[-1] is True
    sleeper.until_message(f"{tag}/1", "before")
    sleeper.until_message(f"{tag}/2", "between")


def test_expiry_holds_for_connections_that_outlive_their_guard(breakable: Installation) -> None:
    token = breakable.device_token("outlive", "--subscribe", "x/#", "--lifetime", "6")
    client = breakable.client("outlive").connect(token)
    old = breakable.kill("guard")
    breakable.wait_restarted("guard", old)
    client.until_disconnected()


def test_a_revocation_made_while_the_guard_was_dead_reaches_it(breakable: Installation) -> None:
    secret = breakable.add_device("caught", "--subscribe", "x/#")
    token = breakable.token("caught", secret)
    client = breakable.client("caught").connect(token)
    old = breakable.kill("guard")
    assert breakable.cli("device", "disable", "caught").returncode == 0
    breakable.wait_restarted("guard", old)
    client.until_disconnected()
    until(
        "the old token is refused as revoked, not as unavailable",
        lambda: breakable.client("caught").try_connect("caught", token) == 0x87,
    )

# SPDX-License-Identifier: Apache-2.0
"""A broker that goes on while the guard decides (Mosquitto 2.1): nobody waits for anybody else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from keyfob.brokers.mosquitto.frames import Admitted, Offline
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin import test_endings_in_broker as endings
from tests.brokers.mosquitto.plugin import test_plugin_in_broker as coming_in
from tests.brokers.mosquitto.plugin import test_replacement_in_broker as replacement
from tests.brokers.mosquitto.plugin.broker import (
    NOT_AUTHORIZED,
    TAKEN,
    Broker,
    Device,
    Plugin,
    build_plugin,
    comes_in,
    is_2_1,
)
from tests.brokers.mosquitto.plugin.fake_guard import (
    PATIENCE,
    FakeGuard,
    Question,
    allow,
    refuse,
    until,
)
from tests.brokers.mosquitto.plugin.raw import ADMINISTRATIVE_ACTION, Raw, connack, connect_packet
from tests.free_ports import free_port
from tests.mqtt5 import DISCONNECT, PINGREQ, Client

DELAYED: Final = {"decisions": "delayed"}


@pytest.fixture
def broker(directory: Path, plugin: Plugin, guard: FakeGuard, newest: str) -> Iterator[Broker]:
    with Broker(directory, plugin, guard.path, DELAYED, program=newest) as started:
        yield started


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    """As it is built for users: here it is the broker that may do wrong."""
    return build_plugin(tmp_path_factory.mktemp("plain"), "plain")


# What holds for a broker that waits holds for one that goes on


def take_in(module: object) -> None:
    """Make those tests of another module this one's that need no other broker than ``broker``."""
    for name, value in vars(module).items():
        if name.startswith("test_") and "plugin" not in value.__code__.co_varnames:
            assert name not in globals(), f"two tests are called {name}"
            globals()[name] = value


for same in (coming_in, endings, replacement):
    take_in(same)


# Decisions that are still to come


def silence(_asked: Question, _request: int) -> None:
    """Decide nothing."""


class Undecided:
    """Leaves CONNECTs unanswered until the test answers them."""

    def __init__(self, guard: FakeGuard) -> None:
        self._guard = guard
        self.asked: list[tuple[Question, int]] = []
        self.begin()

    def begin(self) -> None:
        """From now on nobody is answered."""
        self._guard.decide = lambda connect, request: self.asked.append((connect, request))

    def until(self, count: int) -> None:
        until(lambda: len(self.asked) >= count, f"{count} questions")

    def of(self, client_id: str) -> int:
        """How many asked under an identifier."""
        return sum(connect.client_id == client_id for connect, _ in self.asked)

    def answer(self, place: int, *, reason: int = 0) -> None:
        connect, request = self.asked[place]
        said = (refuse(reason) if reason else allow())(connect, request)
        assert said is not None
        self._guard.push(said)

    def over(self) -> None:
        """From now on everybody is let in at once."""
        self._guard.decide = allow()


@pytest.fixture
def undecided(guard: FakeGuard) -> Undecided:
    return Undecided(guard)


def test_the_guard_is_told_that_the_broker_goes_on_and_for_how_long(
    broker: Broker, guard: FakeGuard
) -> None:
    with Device(broker.port, "dev1"):
        assert (guard.connects[0].delayed, guard.connects[0].wait_ms) == (True, 5000)


def test_a_decision_that_takes_long_keeps_nobody_else_waiting(
    broker: Broker, guard: FakeGuard, undecided: Undecided
) -> None:
    slow = Device(broker.port, "slow")
    slow.begin()
    undecided.until(1)
    guard.decide = allow()
    with Device(broker.port, "quick") as quick:
        for _ in range(20):
            assert quick.publish("quick/x") in TAKEN
        assert slow.answer is None
        assert not slow.closed.is_set()
        undecided.answer(0)
        assert slow.outcome() == 0
    assert slow.publish("slow/x") in TAKEN
    slow.stop()


def test_many_are_decided_about_at_once_and_in_any_order(
    broker: Broker, guard: FakeGuard, undecided: Undecided
) -> None:
    waiting = [Device(broker.port, f"dev{i}") for i in range(20)]
    for device in waiting:
        device.begin()
    undecided.until(20)
    for place in reversed(range(20)):
        undecided.answer(place, reason=0x87 if place % 2 else 0)
    good = {connect.client_id for connect, _ in undecided.asked[::2]}
    for i, device in enumerate(waiting):
        assert device.outcome() == (0 if f"dev{i}" in good else NOT_AUTHORIZED)
        device.stop()


def test_the_token_is_nowhere_while_its_decision_is_pending(
    broker: Broker, undecided: Undecided
) -> None:
    device = Device(broker.port, "dev1", username="token-as-username", token="token-as-password")
    device.begin()
    undecided.until(1)
    undecided.answer(0)
    assert device.outcome() == 0
    device.stop()
    assert "token-as" not in broker.log
    assert "u'principal-dev1'" in broker.log


# Clients that do not wait for their decisions


def come_again(broker: Broker, undecided: Undecided, client_id: str) -> Raw:
    """Connect under an identifier that somebody waited under who has gone."""
    asked = undecided.of(client_id)

    def is_asked() -> bool:
        # As long as the broker has not noticed, it closes the second connection at once.
        newcomer.append(Raw(broker.port))
        newcomer[-1].say(connect_packet(client_id, 5, password=b"bad"))
        until(lambda: undecided.of(client_id) > asked or newcomer[-1].is_closed(), "either")
        return undecided.of(client_id) > asked

    newcomer: list[Raw] = []
    until(is_asked, "the second to be asked about")
    return newcomer[-1]


def test_a_good_tokens_answer_lets_nobody_in_who_came_later_under_its_identifier(
    broker: Broker, guard: FakeGuard, undecided: Undecided
) -> None:
    with Raw(broker.port) as first:
        first.say(connect_packet("dev1", 5, password=b"good"))
        undecided.until(1)
    with come_again(broker, undecided, "dev1") as second:
        undecided.answer(0)  # the good token is allowed in, too late
        undecided.answer(len(undecided.asked) - 1, reason=0x87)
        assert second.rest() == connack(0x87, 5)
    assert not guard.heard(Admitted)
    undecided.over()
    assert comes_in(broker, "dev1")


def test_who_leaves_while_waiting_leaves_nothing_behind(
    broker: Broker, guard: FakeGuard, undecided: Undecided
) -> None:
    for i in range(200):
        with Raw(broker.port) as client:
            client.say(connect_packet(f"dev{i}", 5))
            undecided.until(i + 1)
    for place in range(200):
        undecided.answer(place)
    undecided.over()
    assert comes_in(broker, "dev1")
    until(lambda: guard.heard(Offline, client_id="dev1"), "OFFLINE")
    admitted = {frame.epoch for frame in guard.told if isinstance(frame, Admitted)}
    assert admitted == {guard.connects[-1].epoch}
    guard.hang_up()
    until(lambda: guard.links == 2, "a new link")
    assert guard.records == [] or {r.client_id for r in guard.records} == {"dev1"}


def test_a_stored_session_survives_somebody_who_asked_for_it_and_left(
    broker: Broker, guard: FakeGuard, undecided: Undecided
) -> None:
    undecided.over()
    with Device(broker.port, "dev1", clean=False) as device:
        assert device.subscribe("dev1/#") == 1
    undecided.begin()
    with Raw(broker.port) as client:
        client.say(connect_packet("dev1", 5))
        undecided.until(1)
    # The broker has noticed once it takes another question about the client.
    with come_again(broker, undecided, "dev1") as second:
        undecided.answer(0)
        undecided.answer(len(undecided.asked) - 1, reason=0x87)
        assert second.rest() == connack(0x87, 5)
    undecided.over()
    with Device(broker.port, "sender") as sender:
        guard.decide = allow()
        assert sender.publish("sender/x") in TAKEN
    with Device(broker.port, "dev1", clean=False) as again:
        assert again.session_present


@pytest.mark.parametrize("owner_stays", [True, False], ids=["owner_in", "owner_away"])
def test_the_will_of_who_leaves_while_waiting_is_never_sent(
    broker: Broker, guard: FakeGuard, undecided: Undecided, *, owner_stays: bool
) -> None:
    """Not even under the identifier, and with the name, of one whose permissions would allow it."""
    guard.decide = allow(subscribe=("dev1/#",))
    with Device(broker.port, "watcher") as watcher:
        assert watcher.subscribe("dev1/#") == 1
        owner = Device(broker.port, "dev1", clean=False)
        assert owner.connect() == 0
        if not owner_stays:
            owner.stop()
            until(lambda: guard.heard(Offline, client_id="dev1"), "OFFLINE")
        undecided.begin()
        stranger = Device(broker.port, "dev1", username="principal-dev1", will="dev1/will")
        stranger.begin()
        undecided.until(1)
        stranger.vanish()
        until(lambda: "connection closed by client" in broker.log, "the broker to notice")
        undecided.over()
        with Device(broker.port, "dev1", clean=False) as again:
            assert again.publish("dev1/behind") in TAKEN
        assert watcher.received()[0] == "dev1/behind"
        stranger.stop()
        owner.stop()


def test_a_broker_that_stops_while_clients_wait_stops_in_good_order(
    broker: Broker, undecided: Undecided
) -> None:
    with contextlib.ExitStack() as stack:
        for i in range(20):
            stack.enter_context(Raw(broker.port)).say(connect_packet(f"dev{i}", 5))
        undecided.until(20)
        broker.stop()  # a sanitizer that finds anything fails this


def test_the_identifier_of_a_waiting_client_is_not_to_be_had(
    broker: Broker, undecided: Undecided
) -> None:
    """Mosquitto closes the second one; the first is not disturbed."""
    device = Device(broker.port, "dev1")
    device.begin()
    undecided.until(1)
    with Raw(broker.port) as second:
        second.say(connect_packet("dev1", 5))
        assert second.rest() == b""
    undecided.answer(0)
    assert device.outcome() == 0
    device.stop()


def test_who_the_broker_has_no_room_for_after_all_is_closed(
    directory: Path, plugin: Plugin, guard: FakeGuard, newest: str
) -> None:
    lines = ("global_max_clients 1",)
    with (
        Broker(directory, plugin, guard.path, DELAYED, lines=lines, program=newest) as broker,
        Device(broker.port, "dev1") as first,
    ):
        with Raw(broker.port) as second:
            second.say(connect_packet("dev2", 5))
            assert second.rest().endswith(ADMINISTRATIVE_ACTION)
        assert not guard.heard(Admitted, client_id="dev2")
        assert first.publish("dev1/x") in TAKEN


def test_websockets_are_decided_about_like_all_others(
    directory: Path, plugin: Plugin, guard: FakeGuard, newest: str
) -> None:
    port = free_port()
    lines = (f"listener {port} 127.0.0.1", "protocol websockets")
    with Broker(directory, plugin, guard.path, DELAYED, lines=lines, program=newest):
        undecided = Undecided(guard)
        told = {"in": (0, 0), "refused": (0x87, NOT_AUTHORIZED), "unavailable": (0x88, None)}
        for place, (name, (reason, answer)) in enumerate(told.items()):
            device = Device(port, name, transport="websockets")
            device.begin()
            undecided.until(place + 1)
            undecided.answer(place, reason=reason)
            assert device.outcome() == answer
            device.stop()
        assert [connect.delayed for connect in guard.connects] == [True] * 3


# The guard, and the operator


def test_a_guard_that_dies_closes_who_waits_for_it_and_nobody_else(
    broker: Broker, guard: FakeGuard, undecided: Undecided
) -> None:
    guard.decide = allow()
    with Device(broker.port, "dev1") as device:
        undecided.begin()
        with Raw(broker.port) as first, Raw(broker.port) as second:
            first.say(connect_packet("late1", 5))
            second.say(connect_packet("late2", 4))
            undecided.until(2)
            guard.stop()
            assert first.rest() == ADMINISTRATIVE_ACTION
            assert second.rest() == b""
        assert device.publish("dev1/x") in TAKEN
        undecided.over()
        guard.start()
        until(lambda: comes_in(broker, "late1"), "the guard to be found again")


def impatient(directory: Path, plugin: Plugin, guard: FakeGuard, newest: str) -> Broker:
    options = {**DELAYED, "decision_timeout_ms": "200"}
    return Broker(directory, plugin, guard.path, options, program=newest)


def test_a_guard_that_says_nothing_at_all_is_connected_to_anew(
    directory: Path, plugin: Plugin, guard: FakeGuard, newest: str
) -> None:
    with impatient(directory, plugin, guard, newest) as broker:
        guard.decide = lambda *_: None
        device = Device(broker.port, "dev1")
        assert device.connect() is None
        device.stop()
        until(lambda: guard.links == 2, "a new link")
        guard.decide = allow()
        assert comes_in(broker, "dev1")


def test_a_guard_that_only_lacks_one_answer_keeps_its_link(
    directory: Path, plugin: Plugin, guard: FakeGuard, newest: str
) -> None:
    with impatient(directory, plugin, guard, newest) as broker:
        undecided = Undecided(guard)
        with Raw(broker.port) as client:
            client.say(connect_packet("dev1", 5))
            undecided.until(1)
            undecided.over()
            assert comes_in(broker, "dev2")  # the guard is heard while the first one waits
            assert client.rest() == ADMINISTRATIVE_ACTION
        assert guard.links == 1
        undecided.answer(0)  # too late: it lets nobody in
        assert comes_in(broker, "dev1")
        assert not guard.heard(Admitted, epoch=undecided.asked[0][0].epoch)


def test_a_reload_disturbs_neither_who_waits_nor_who_is_in(
    broker: Broker, guard: FakeGuard, undecided: Undecided
) -> None:
    guard.decide = allow()
    with Device(broker.port, "dev1") as device:
        guard.decide = lambda connect, request: undecided.asked.append((connect, request))
        waiting = [Device(broker.port, name) for name in ("dev1", "dev2")]
        for one in waiting:
            one.begin()
        undecided.until(2)
        broker.reload()
        assert device.publish("dev1/x") in TAKEN
        for place in range(2):
            undecided.answer(place)
        for one in waiting:
            assert one.outcome() == 0
            one.stop()
        device.wait_closed()  # the same client came again


def test_what_ends_the_old_connection_does_not_end_the_new_one(
    broker: Broker, guard: FakeGuard, undecided: Undecided
) -> None:
    """The END was said before the decision, and means the session that there was."""
    guard.decide = allow()
    with Device(broker.port, "dev1") as old:
        guard.decide = lambda connect, request: undecided.asked.append((connect, request))
        new = Device(broker.port, "dev1")
        new.begin()
        undecided.until(1)
        guard.push(frames.end("dev1", frames.REVOKED))
        old.wait_closed()
        undecided.answer(0)
        assert new.outcome() == 0
        assert new.publish("dev1/x") in TAKEN
        guard.push(frames.end("dev1", frames.REVOKED, undecided.asked[0][0].epoch))
        new.wait_closed()
        new.stop()


def test_who_sends_on_without_waiting_for_connack_is_closed(
    broker: Broker, guard: FakeGuard, undecided: Undecided
) -> None:
    """Mosquitto's rule while a decision is pending; `decisions blocking` has it otherwise."""
    with Raw(broker.port) as eager:
        eager.say(connect_packet("dev1", 5) + bytes((0xC0, 0)))  # PINGREQ
        assert connack(0, 5)[:4] not in eager.rest()
    undecided.over()
    assert comes_in(broker, "dev1")
    assert not guard.heard(Admitted, epoch=1)


def test_a_broker_that_cannot_delay_says_so_and_does_not_start(
    directory: Path, plugin: Plugin, guard: FakeGuard
) -> None:
    if is_2_1():
        pytest.skip("the installed Mosquitto can")
    broker = Broker(directory, plugin, guard.path, DELAYED)
    broker.start(wait=False)
    assert broker.process is not None
    assert broker.process.wait(PATIENCE) != 0
    assert "plugin_opt_decisions delayed needs Mosquitto 2.1" in broker.log


@pytest.mark.parametrize("decisions", ["auto", "delayed"])
def test_what_comes_behind_a_disconnect_harms_nobody(
    directory: Path, plain: Plugin, guard: FakeGuard, newest: str, decisions: str
) -> None:
    """Mosquitto 2.1.2 goes on with what it has read of a client that waits, and ends it twice."""
    lines = ("packet_buffer_size 1",) if decisions == "delayed" else ()
    options = {"decisions": decisions}
    nobody, everybody = silence if decisions == "delayed" else refuse(), allow()
    guard.decide = lambda asked, request: (
        everybody if asked.client_id.startswith("dev") else nobody
    )(asked, request)
    with (
        Broker(directory, plain, guard.path, options, lines=lines, program=newest) as broker,
        contextlib.ExitStack() as stack,
    ):
        for i in range(20):
            client = stack.enter_context(Client(broker.port, f"other{i}", None))
            with client.together():
                client.send_connect(password=b"token", expiry=1)
                client.say(DISCONNECT, bytes((0, 0)))
                client.say(PINGREQ)
        others = [stack.enter_context(Client(broker.port, f"dev{i}", None)) for i in range(20)]
        for client in others:
            answer = client.connect(password=b"token")
            assert answer is not None
            assert answer.reason == 0
        with Client(broker.port, "dev-that-goes", None) as client:
            client.connect(password=b"token", expiry=1)
        until(lambda: "Expiring client dev-that-goes" in broker.log, "sessions to expire")
        assert all(client.ping() for client in others)

# SPDX-License-Identifier: Apache-2.0
"""The mode mixed: tokens beside passwords, and neither decides about the other's clients."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.frames import Connect, Offline
from tests import mqtt5
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.beside import (
    BESIDES,
    JWT,
    PASSWORD,
    Beside,
    acl_file,
    lines_for,
    password_file,
)
from tests.brokers.mosquitto.plugin.broker import (
    DENIED,
    NOT_AUTHORIZED,
    TAKEN,
    Broker,
    Device,
    Plugin,
    is_2_1,
)
from tests.brokers.mosquitto.plugin.fake_guard import (
    Decide,
    FakeGuard,
    Question,
    allow,
    allowed,
    refuse,
    until,
)
from tests.brokers.mosquitto.plugin.raw import Raw, connect_packet
from tests.free_ports import free_port

MIXED = {"mode": "mixed"}
BAD_METHOD = 0x8C

Make = Callable[..., Broker]


@pytest.fixture
def mixed(directory: Path, plugin: Plugin, guard: FakeGuard, any_program: str) -> Make:
    """Return what makes a broker that has other ways in, too."""

    def make(beside: Beside = "password_file", **options: str) -> Broker:
        lines = lines_for(beside, directory, any_program)
        every = MIXED | options
        return Broker(directory, plugin, guard.path, every, lines=lines, program=any_program)

    return make


def mower(port: int, client_id: str = "mower1", **how: object) -> Device:
    """Return a device with a password."""
    login = {"username": "mower", "token": PASSWORD} | how
    return Device(port, client_id, **login)  # type: ignore[arg-type]


def with_token(port: int, client_id: str = "dev1", **how: object) -> Device:
    """Return a device with a token."""
    return Device(port, client_id, **({"token": JWT} | how))  # type: ignore[arg-type]


def is_refused(device: Device) -> bool:
    """Try to connect."""
    answer = device.connect()
    device.stop()
    return answer != 0


def as_principal(principal: str) -> Decide:
    """Return what lets everybody in as this one, on ``dev1/#``."""
    return lambda connect, request: frames.decision(
        request,
        connect.epoch,
        allowed=allowed(["dev1/#"], ["dev1/#"]),
        principal=principal,
        subject=connect.client_id,
    )


# Each its own


@pytest.mark.parametrize("beside", BESIDES)
def test_passwords_and_tokens_work_side_by_side_and_each_has_its_own_rights(
    mixed: Make, guard: FakeGuard, beside: Beside
) -> None:
    with mixed(beside) as broker:
        with mower(broker.port) as device:
            assert device.subscribe("lawn/#") == 1
            assert device.publish("lawn/x", b"1") == 0
            assert device.received() == ("lawn/x", b"1")
            assert device.publish("dev1/x") == NOT_AUTHORIZED
        assert is_refused(mower(broker.port, token="wrong"))
        assert is_refused(mower(broker.port, username="nobody"))
        assert is_refused(Device(broker.port, "dev1", token=None))
        assert guard.connects == []
        # A token brings its own rights, also where its principal is the other's user.
        guard.decide = as_principal("mower")
        with with_token(broker.port) as device:
            assert device.subscribe("dev1/#") == 1
            assert device.publish("dev1/x", b"1") == 0
            assert device.received() == ("dev1/x", b"1")
            assert device.publish("lawn/x") == NOT_AUTHORIZED
            assert device.subscribe("lawn/#") == NOT_AUTHORIZED


@pytest.mark.parametrize("beside", BESIDES)
def test_a_token_that_fails_is_no_password(mixed: Make, guard: FakeGuard, beside: Beside) -> None:
    """Not even where it would be the right one; and nobody else gets to see it."""
    guard.decide = refuse()
    with mixed(beside) as broker:
        assert is_refused(Device(broker.port, "dev1", username="token", token=JWT))
        assert is_refused(Device(broker.port, "dev1", username=JWT, token=None))
        assert is_refused(Device(broker.port, "dev1", username="token", token="kfa_opaque"))
        assert len(guard.connects) == 3
        guard.stop()
        assert is_refused(Device(broker.port, "dev1", username="token", token=JWT))
        assert "another: asked" not in broker.log
        assert JWT not in broker.log
        # Others do not miss the guard.
        with mower(broker.port, clean=False) as device:
            assert device.publish("lawn/x") in TAKEN


def test_without_an_acl_file_a_password_alone_opens_no_topic(
    directory: Path, plugin: Plugin, guard: FakeGuard, any_program: str
) -> None:
    """Whom every plugin leaves to others Mosquitto denies."""
    lines = password_file(directory)
    with (
        Broker(directory, plugin, guard.path, MIXED, lines=lines, program=any_program) as broker,
        mower(broker.port) as device,
    ):
        assert device.publish("lawn/x") == NOT_AUTHORIZED


def test_a_reload_asks_each_about_its_own(mixed: Make, directory: Path, guard: FakeGuard) -> None:
    with mixed() as broker:
        with with_token(broker.port, "stored", clean=False) as stored:
            assert stored.subscribe("stored/#") == 1
        until(lambda: guard.heard(Offline, client_id="stored"), "OFFLINE")
        with mower(broker.port, clean=False) as cutter, with_token(broker.port) as device:
            asked = len(guard.connects)
            broker.reload()
            assert cutter.publish("lawn/x") in TAKEN
            assert device.publish("dev1/x") in TAKEN
            (directory / "passwords").write_text("")
            broker.reload()
            cutter.wait_closed()
            assert device.publish("dev1/x") in TAKEN
            assert len(guard.connects) == asked
        with with_token(broker.port, "stored", clean=False) as stored:
            assert stored.session_present


def test_a_token_in_the_username_of_ace_is_shown_to_nobody_else(
    mixed: Make, guard: FakeGuard
) -> None:
    username = "ace" + base64.urlsafe_b64encode(JWT.encode()).decode().rstrip("=")
    guard.decide = refuse()
    with mixed("another plugin") as broker:
        assert is_refused(Device(broker.port, "dev1", username=username, token="proof"))
        assert len(guard.connects) == 1
        assert username not in broker.log  # where that plugin writes who it is asked about


def test_a_listener_has_its_own_mode(
    directory: Path, plugin: Plugin, guard: FakeGuard, any_program: str
) -> None:
    """Passwords at the one and tokens at both; a session at the one is safe from the other."""
    old = free_port()
    lines = (
        f"listener {old} 127.0.0.1",
        "allow_anonymous false",
        f"plugin {plugin.library}",
        f"plugin_opt_guard_socket {guard.path}",
        "plugin_opt_guard_timeout_ms 5000",
        "plugin_opt_mode mixed",
        *lines_for("password_file", directory, any_program),
    )
    with Broker(
        directory, plugin, guard.path, lines=lines, per_listener=True, program=any_program
    ) as broker:
        guard.decide = refuse()
        assert is_refused(mower(broker.port))
        asked = len(guard.connects)
        with mower(old) as device:
            assert device.publish("lawn/x") in TAKEN
        assert len(guard.connects) == asked
        guard.decide = allow()
        with with_token(broker.port, "dev1", clean=False) as device:
            assert device.publish("dev1/x") in TAKEN
            assert device.publish("lawn/x") == NOT_AUTHORIZED
            assert is_refused(mower(old, "dev1"))
        with with_token(old, "dev2") as device:
            assert device.publish("dev2/x") in TAKEN
            assert device.publish("lawn/x") == NOT_AUTHORIZED


def test_anonymous_clients_come_in_where_the_broker_says_so(
    directory: Path, plugin: Plugin, guard: FakeGuard, any_program: str
) -> None:
    lines = ("allow_anonymous true", acl_file(directory, "topic readwrite lawn/#\n"))
    with Broker(directory, plugin, guard.path, MIXED, lines=lines, program=any_program) as broker:
        with Device(broker.port, "anybody", token=None) as device:
            assert device.publish("lawn/x") in TAKEN
            assert device.publish("dev1/x") in DENIED
        guard.decide = refuse()
        assert is_refused(with_token(broker.port))
        assert is_refused(mower(broker.port))


# Sessions


@pytest.mark.parametrize("clean", [True, False], ids=["clean", "resumed"])
@pytest.mark.parametrize("name", ["mower", "principal-dev1"])
def test_a_password_takes_no_session_that_a_token_began(
    mixed: Make, directory: Path, guard: FakeGuard, clean: bool, name: str
) -> None:
    """Neither a live nor a stored one; what is queued in it stays for its owner."""
    with mixed() as broker:
        _add_user(directory, name)
        broker.reload()
        with with_token(broker.port, clean=False) as device:
            assert device.subscribe("dev1/#") == 1
            assert is_refused(mower(broker.port, "dev1", clean=clean, username=name))
            assert device.publish("dev1/x", b"live") == 0
            assert device.received() == ("dev1/x", b"live")
        until(lambda: guard.heard(Offline, client_id="dev1"), "OFFLINE")
        guard.decide = allow(["dev1/#"])
        with with_token(broker.port, "sender") as sender:
            assert sender.publish("dev1/x", b"queued") == 0
        assert is_refused(mower(broker.port, "dev1", clean=clean, username=name))
        guard.decide = allow()
        with with_token(broker.port, clean=False) as device:
            assert device.session_present
            assert device.received() == ("dev1/x", b"queued")


def _add_user(directory: Path, name: str) -> None:
    if name != "mower":
        hashed = (directory / "passwords").read_text().splitlines()[0].partition(":")[2]
        with (directory / "passwords").open("a") as passwords:
            passwords.write(f"{name}:{hashed}\n")
        with (directory / "acl").open("a") as acl:
            acl.write(f"user {name}\ntopic readwrite #\n")


def test_a_revoked_device_reads_nothing_by_a_password_that_was_queued_for_its_token(
    mixed: Make, guard: FakeGuard
) -> None:
    with mixed() as broker:
        guard.decide = allow(["lawn/#"], ["lawn/#"])
        with with_token(broker.port, clean=False) as device:
            assert device.subscribe("lawn/#") == 1
        until(lambda: guard.heard(Offline, client_id="dev1"), "OFFLINE")
        with mower(broker.port) as sender:
            assert sender.publish("lawn/x", b"before") == 0
            guard.push(frames.end("dev1", frames.REVOKED))
            until(lambda: "authorization was revoked" in broker.log, "the revocation")
            assert is_refused(mower(broker.port, "dev1", clean=False))
            # With a clean start it has a session of its own.
            with mower(broker.port, "dev1", clean=True, kept=True) as device:
                assert not device.session_present
                assert device.subscribe("lawn/#") == 1
            assert sender.publish("lawn/x", b"after") == 0
        with mower(broker.port, "dev1", clean=False) as device:
            assert device.session_present
            assert device.received() == ("lawn/x", b"after")


def test_a_device_that_moves_to_tokens_takes_its_session_along(
    mixed: Make, guard: FakeGuard
) -> None:
    """What was queued for it is delivered where the token allows it."""
    with mixed() as broker:
        with mower(broker.port, "dev1", clean=False) as device:
            assert device.subscribe("lawn/#") == 1
        with mower(broker.port) as sender:
            assert sender.publish("lawn/private", b"1") == 0
            assert sender.publish("lawn/open", b"2") == 0
        guard.decide = allow(subscribe=["lawn/open"])
        with with_token(broker.port, "dev1", clean=False) as device:
            assert device.session_present
            assert device.received() == ("lawn/open", b"2")
            assert device.messages.empty()


@pytest.mark.parametrize("principal", ["dev1", "mower"])
def test_the_will_of_a_password_client_is_not_judged_by_the_token_that_took_its_place(
    mixed: Make, guard: FakeGuard, principal: str
) -> None:
    """Also where its name is the principal of that token."""
    with mixed() as broker:
        guard.decide = allow(subscribe=["#"])
        with with_token(broker.port, "watch") as watch:
            assert watch.subscribe("#") == 1
            guard.decide = as_principal(principal)
            for client_id, topic in (("a", "dev1/will"), ("b", "lawn/will")):
                old = mower(broker.port, client_id, will=topic)
                assert old.connect() == 0
                with with_token(broker.port, client_id):
                    old.wait_closed()
                old.stop()
            assert watch.received() == ("lawn/will", b"gone")
            assert watch.messages.empty()


def test_a_device_goes_back_to_its_password_once_its_session_is_over(
    mixed: Make, guard: FakeGuard
) -> None:
    with mixed() as broker:
        with with_token(broker.port, "dev1", version=4):
            pass
        until(lambda: guard.heard(Offline, client_id="dev1", kept=False), "OFFLINE")
        until(lambda: not is_refused(mower(broker.port, "dev1")), "the record to be dropped")
        with with_token(broker.port, "dev2", clean=False):
            pass
        until(lambda: guard.heard(Offline, client_id="dev2", kept=True), "OFFLINE")
        assert is_refused(mower(broker.port, "dev2"))
        guard.push(frames.end("dev2", frames.FORGOTTEN))
        until(lambda: not is_refused(mower(broker.port, "dev2")), "the record to be dropped")


def test_until_the_guard_was_there_nobody_resumes_a_session_without_a_token(
    mixed: Make, guard: FakeGuard
) -> None:
    """Whose it is the guard knows; the broker has only stored it."""
    guard.stop()
    with mixed(startup_wait_ms="0") as broker:
        assert is_refused(mower(broker.port, clean=False))
        with mower(broker.port) as device:
            assert device.publish("lawn/x") in TAKEN
        guard.start()
        until(lambda: not is_refused(mower(broker.port, clean=False)), "the guard")
        guard.stop()
        with mower(broker.port, clean=False) as device:
            assert device.session_present


# By a method of somebody else's


def lawn(connect: Question, request: int) -> bytes:
    """Know one method, ``OAUTH2-JWT``, and let in whoever comes by it."""
    if getattr(connect, "method", None) != "OAUTH2-JWT":
        return frames.decision(request, connect.epoch, reason=BAD_METHOD)
    answer = allow()(connect, request)
    assert answer is not None
    return answer


def test_a_method_that_is_not_ours_is_left_to_others(mixed: Make, guard: FakeGuard) -> None:
    guard.decide = lawn
    with mixed("another plugin") as broker:
        with mqtt5.Client(broker.port, "mower1", "LAWN") as device:
            asked = device.connect(b"")
            assert asked is not None
            assert (asked.kind, asked.reason) == (mqtt5.AUTH, mqtt5.CONTINUE)
            answer = device.auth(mqtt5.CONTINUE, PASSWORD.encode())
            assert answer is not None
            assert (answer.kind, answer.reason) == (mqtt5.CONNACK, 0)
            assert device.publish("lawn/x") in TAKEN
            assert device.publish("dev1/x") == NOT_AUTHORIZED
        with mqtt5.Client(broker.port, "dev1") as device:
            answer = device.connect(JWT.encode())
            assert answer is not None
            assert (answer.kind, answer.reason) == (mqtt5.CONNACK, 0)
            assert device.publish("dev1/x") in TAKEN
            with mqtt5.Client(broker.port, "dev1", "LAWN") as thief:
                answer = thief.connect(b"")
                assert answer is not None
                assert (answer.kind, answer.reason) == (mqtt5.CONNACK, NOT_AUTHORIZED)
            assert device.ping()
        with mqtt5.Client(broker.port, "dev2", "NOBODYS") as device:
            answer = device.connect(b"")
            assert answer is not None
            assert (answer.kind, answer.reason) == (mqtt5.CONNACK, BAD_METHOD)


def test_an_auth_behind_a_disconnect_takes_no_session_away(mixed: Make, guard: FakeGuard) -> None:
    """Mosquitto 2.1 asks about it, and would spoil the session where nobody wants it."""
    guard.decide = lawn
    with mixed() as broker:
        for name, ends in (("dev1", 1), ("dev2", 2)):
            with mqtt5.Client(broker.port, name) as client, client.together():
                client.send_connect(JWT.encode(), clean=False, expiry=3600)
                for _ in range(ends):
                    client.say(mqtt5.DISCONNECT, bytes((0, 0)))
                client.say(mqtt5.AUTH)
            until(partial(guard.heard, Offline, client_id=name), "its end")
        for name in ("dev1", "dev2"):
            with mqtt5.Client(broker.port, name) as client:
                answer = client.connect(JWT.encode(), clean=False, expiry=3600)
                assert answer is not None
                assert (answer.kind, answer.reason) == (mqtt5.CONNACK, 0)
                assert answer.body[0] == 1, "the session was there"


def test_who_leaves_while_waiting_for_a_decision_has_no_will(
    mixed: Make, directory: Path, guard: FakeGuard, any_program: str
) -> None:
    """Mosquitto 2.1 asks about it, of a client that was never in; and others might allow it."""
    if not is_2_1(any_program):
        pytest.skip("2.0 delays no decision")
    guard.decide = allow(subscribe=["#"])
    with mixed(decisions="delayed") as broker:
        (directory / "acl").write_text("topic readwrite #\npattern readwrite #\n")
        broker.reload()
        with with_token(broker.port, "watch") as watch:
            assert watch.subscribe("#") == 1
            guard.decide = lambda *_: None
            with Raw(broker.port) as leaving:
                leaving.say(_with_will("dev1", "lawn/will"))
                until(lambda: len(guard.connects) == 2, "the question")
            guard.decide = allow(["lawn/#"], ["#"])
            with mower(broker.port) as sender:
                assert sender.publish("lawn/after", b"1") == 0
            assert watch.received() == ("lawn/after", b"1")


@pytest.mark.parametrize("how", ["hangs up", "answers wrongly", "refused", "undecided"])
def test_who_is_asked_for_more_and_never_comes_in_has_no_will(
    mixed: Make, directory: Path, guard: FakeGuard, how: str
) -> None:
    """It has chosen its identifier and its username, and shown nothing for either."""
    guard.decide = allow(subscribe=["#"])
    with mixed() as broker:
        (directory / "acl").write_text("topic readwrite #\npattern readwrite #\n")
        broker.reload()
        with with_token(broker.port, "watch") as watch:
            assert watch.subscribe("#") == 1
            reason = 0x88 if how == "undecided" else NOT_AUTHORIZED
            first = mqtt5.CONTINUE if how in ("hangs up", "answers wrongly") else reason
            guard.decide = _asks_and_refuses(first, reason)
            with mqtt5.Client(broker.port, "mower1") as leaving:
                leaving.connect(username="mower", will="lawn/will")
                if how == "answers wrongly":
                    leaving.auth(mqtt5.CONTINUE, b"wrong")
            if how == "hangs up":
                until(lambda: any(isinstance(told, Offline) for told in guard.told), "its end")
            guard.decide = allow(["lawn/#"], ["#"])
            with mower(broker.port, "mower2") as sender:
                assert sender.publish("lawn/after", b"1") == 0
            assert watch.received() == ("lawn/after", b"1")


def _asks_and_refuses(first: int, then: int) -> Decide:
    def decide(question: Question, request: int) -> bytes:
        reason = first if isinstance(question, Connect) else then
        return frames.decision(request, question.epoch, reason=reason)

    return decide


def _with_will(client_id: str, topic: str) -> bytes:
    packet = connect_packet(client_id, 4, password=JWT.encode())
    head, rest = packet[:9] + bytes((packet[9] | 0x04,)) + packet[10:12], packet[12:]
    own = 2 + len(client_id)
    will = len(topic).to_bytes(2) + topic.encode() + (4).to_bytes(2) + b"gone"
    body = head[2:] + rest[:own] + will + rest[own:]
    assert len(body) < 128
    return bytes((0x10, len(body))) + body


def _own_method_alone(connect: Question, request: int) -> bytes:
    """Let everybody in who does not come by a method of somebody else's."""
    if getattr(connect, "method", None) is not None:
        return frames.decision(request, connect.epoch, reason=BAD_METHOD)
    answer = allow(["{id}/#"], ["#"])(connect, request)
    assert answer is not None
    return answer


def test_who_began_another_plugins_exchange_has_no_will_by_somebody_elses_token(
    mixed: Make, guard: FakeGuard
) -> None:
    """It calls itself what the victim is called, also by its principal, and has shown nothing."""
    guard.decide = _own_method_alone
    with mixed("another plugin") as broker, with_token(broker.port, "watch") as watch:
        assert watch.subscribe("#") == 1
        for name, resumes in (("dev1", False), ("dev2", True)):
            with mqtt5.Client(broker.port, name, "LAWN") as thief:
                asked = thief.connect(b"", username=f"principal-{name}", will=f"{name}/will")
                assert asked is not None
                assert (asked.kind, asked.reason) == (mqtt5.AUTH, mqtt5.CONTINUE)
                with with_token(broker.port, name, clean=False) as first:
                    if resumes:
                        first.stop()
                        until(partial(guard.heard, Offline, client_id=name), "its end")
                    with with_token(broker.port, name, clean=False) as victim:
                        thief.close()
                        with with_token(broker.port, f"{name}-after") as after:
                            assert after.publish(f"{name}-after/x", b"1") == 0
                        assert victim.publish(f"{name}/x", b"1") == 0
                        assert watch.received() == (f"{name}-after/x", b"1")
                        assert watch.received() == (f"{name}/x", b"1")

# SPDX-License-Identifier: Apache-2.0
"""What else Mosquitto has, and what it comes to with the plugin: the table of docs/mosquitto.md.

With each Mosquitto that this machine has.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyfob.authorization.permissions import Operation, Permissions, Rule
from keyfob.brokers.mosquitto.frames import Admitted, Offline
from keyfob.mqtt.topics import TopicFilter
from tests import mqtt5
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.beside import JWT, acl_file, dynamic_security
from tests.brokers.mosquitto.plugin.broker import (
    NOT_AUTHORIZED,
    TAKEN,
    Broker,
    Device,
    Plugin,
    build_plugin,
    devices,
)
from tests.brokers.mosquitto.plugin.certificates import Listener
from tests.brokers.mosquitto.plugin.fake_guard import (
    FakeGuard,
    Question,
    allow,
    allowed,
    refuse,
    until,
)
from tests.brokers.mosquitto.plugin.raw import CLOSED, Raw, connect_packet
from tests.free_ports import free_port

UNASKED = "was let in by something else"

Make = Callable[..., Broker]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    """As it is built for users: what is asked here is what the brokers do."""
    return build_plugin(tmp_path_factory.mktemp("plugin"), "plain")


# Credentials


def test_a_password_reaches_the_guard_up_to_its_first_nul(make: Make, guard: FakeGuard) -> None:
    """MQTT has binary passwords; a plugin of Mosquitto gets them without their length."""
    guard.decide = refuse()
    with make() as broker, Raw(broker.port) as client:
        client.say(connect_packet("dev1", 5, password=JWT.encode() + b"\0junk"))
        assert client.rest() != CLOSED
    assert guard.connects[0].password == JWT.encode()


# What ends


@pytest.mark.parametrize("version", [4, 5])
def test_a_connection_that_is_revoked_loses_its_subscriptions(
    make: Make, guard: FakeGuard, version: int
) -> None:
    """Closing it, Mosquitto asks about each; a device that is enabled again subscribes anew."""
    guard.decide = allow(["dev1/#"], ["dev1/#"])
    with make() as broker, Device(broker.port, "sender") as sender:
        device = Device(broker.port, "dev1", clean=False, version=version)
        assert device.connect() == 0
        assert device.subscribe("dev1/#") == 1
        guard.push(frames.end("dev1", frames.REVOKED))
        device.wait_closed()
        device.stop()
        until(lambda: guard.heard(Offline, client_id="dev1"), "OFFLINE")
        assert sender.publish("dev1/x", b"meanwhile") in TAKEN
        with Device(broker.port, "dev1", clean=False, version=version) as again:
            assert again.session_present
            assert sender.publish("dev1/x", b"unasked for") in TAKEN
            assert again.subscribe("dev1/#") == 1
            assert sender.publish("dev1/x", b"asked for") == 0
            assert again.received() == ("dev1/x", b"asked for")


def test_what_is_not_allowed_any_more_can_be_unsubscribed_from(
    make: Make, guard: FakeGuard
) -> None:
    with make() as broker, Device(broker.port, "dev1") as device:
        until(lambda: guard.heard(Admitted, client_id="dev1"), "ADMITTED")
        assert device.subscribe("dev1/#") == 1
        guard.push(frames.replace(allowed(subscribe=["else"]), "dev1", epoch=1))
        until(lambda: device.subscribe("dev1/#") == NOT_AUTHORIZED, "the replacement")
        assert device.unsubscribe("dev1/#") == 0


# QoS and retain


def test_a_qos_that_is_not_granted_is_refused_and_not_lowered(make: Make, guard: FakeGuard) -> None:
    """MQTT could grant a subscription less; the ACL event of Mosquitto has only yes and no."""
    rule = Rule(
        operations=Operation.PUBLISH | Operation.SUBSCRIBE,
        filter=TopicFilter.parse("dev1/#"),
        qos=0b011,
    )
    permissions = frames.permissions(Permissions.allow_only([rule]))
    guard.decide = lambda connect, request: frames.decision(
        request, connect.epoch, allowed=permissions
    )
    with make() as broker, Device(broker.port, "dev1") as device:
        assert device.subscribe("dev1/#", qos=2) == NOT_AUTHORIZED
        assert device.subscribe("dev1/#", qos=1) == 1
        device.publish("dev1/x", b"2", qos=2)  # paho does not tell of a PUBREC that refuses
        assert device.publish("dev1/x", b"1", qos=1) == 0
        assert device.received() == ("dev1/x", b"1")


def test_a_retained_message_is_for_those_who_may_receive_it(make: Make, guard: FakeGuard) -> None:
    guard.decide = allow(["{id}/#"], ["dev1/open", "dev1/+"])
    with make() as broker, Device(broker.port, "dev1") as sender:
        assert sender.publish("dev1/open", b"1", retain=True) in TAKEN
        assert sender.publish("dev1/a/b", b"2", retain=True) in TAKEN
        with Device(broker.port, "dev2") as reader:
            assert reader.subscribe("dev1/+") == 1
            assert reader.received() == ("dev1/open", b"1")
            assert reader.messages.empty()


def test_with_check_retain_source_the_absent_are_taken_for_unauthorized(
    make: Make, guard: FakeGuard
) -> None:
    """Of a sender that is gone nobody knows what it may publish now."""
    guard.decide = allow(["{id}/#"], ["+/#"])
    with make("check_retain_source true") as broker:
        with Device(broker.port, "gone", version=4) as sender:
            assert sender.publish("gone/x", b"1", retain=True) == 0
        until(lambda: guard.heard(Offline, client_id="gone", kept=False), "OFFLINE")
        with Device(broker.port, "stored", clean=False) as sender:
            assert sender.publish("stored/x", b"2", retain=True) in TAKEN
        until(lambda: guard.heard(Offline, client_id="stored"), "OFFLINE")
        with Device(broker.port, "live") as sender, Device(broker.port, "reader") as reader:
            assert sender.publish("live/x", b"3", retain=True) in TAKEN
            assert reader.subscribe("+/x") == 1
            assert {reader.received(), reader.received()} == {("stored/x", b"2"), ("live/x", b"3")}
            assert reader.publish("reader/x", b"4") == 0
            assert reader.received() == ("reader/x", b"4")


# Topics with a meaning


def test_the_brokers_own_topics_are_read_by_name_and_written_by_nobody(
    make: Make, guard: FakeGuard
) -> None:
    guard.decide = allow(["#", "$SYS/#"], ["#"])
    with make("sys_interval 1") as broker, Device(broker.port, "dev1") as device:
        assert device.subscribe("$SYS/#") == NOT_AUTHORIZED
        assert device.subscribe("#") == 1
        assert device.publish("$SYS/broker/version", b"forged") == NOT_AUTHORIZED
        assert device.publish("x", b"1") == 0
        assert device.received() == ("x", b"1")
        guard.decide = allow(subscribe=["$SYS/#"])
        with Device(broker.port, "dev2") as reader:
            assert reader.subscribe("$SYS/broker/version") == 1
            topic, payload = reader.received()
            assert topic == "$SYS/broker/version"
            assert b"mosquitto version" in payload


def test_a_shared_subscription_delivers_what_its_filter_allows(
    make: Make, guard: FakeGuard
) -> None:
    guard.decide = allow(["work/#"], ["work/open", "$share/crew/work/+"])
    with make() as broker, devices(broker.port, ["dev1", "dev2", "dev3"]) as (a, b, sender):
        assert a.subscribe("$share/crew/work/+") == 1
        assert b.subscribe("$share/other/work/+") == NOT_AUTHORIZED
        assert b.subscribe("$share/other/work/open") == 1
        assert sender.publish("work/x", b"1") == 0
        assert a.received() == ("work/x", b"1")
        assert sender.publish("work/open", b"2") == 0
        assert a.received() == b.received() == ("work/open", b"2")
        assert sender.publish("$share/crew/work/x") in (NOT_AUTHORIZED, None)


LIST_CLIENTS = json.dumps({"commands": [{"command": "listClients"}]}).encode()
CONTROL = "$CONTROL/dynamic-security/v1"


def test_who_commands_dynamic_security_is_who_may_publish_to_its_topic(
    make: Make, directory: Path, guard: FakeGuard, any_program: str
) -> None:
    """``#`` is not enough."""
    with make(*dynamic_security(directory, any_program)) as broker:
        guard.decide = allow(["#"], ["#"])
        with Device(broker.port, "dev1") as device:
            assert device.subscribe(f"{CONTROL}/response") == NOT_AUTHORIZED
            assert device.publish(CONTROL, LIST_CLIENTS) == NOT_AUTHORIZED
        guard.decide = allow([CONTROL], [f"{CONTROL}/response"])
        with Device(broker.port, "boss") as boss:
            assert boss.subscribe(f"{CONTROL}/response") == 1
            assert boss.publish(CONTROL, LIST_CLIENTS) in TAKEN
            _, answer = boss.received()
            assert "mower" in json.loads(answer)["responses"][0]["data"]["clients"]


# Other ways in


@pytest.mark.parametrize("version", [4, 5])
def test_websockets_are_as_tcp(make: Make, guard: FakeGuard, version: int) -> None:
    port = free_port()
    how = {"transport": "websockets", "version": version}
    with make(f"listener {port} 127.0.0.1", "protocol websockets") as broker:
        device = Device(port, "dev1", will="watch/will", **how)  # type: ignore[arg-type]
        guard.decide = allow(["{id}/#", "watch/#"], ["{id}/#"])
        with Device(broker.port, "watch") as watch:
            assert watch.subscribe("watch/#") == 1
            assert device.connect() == 0
            assert device.subscribe("dev1/#") == 1
            assert device.subscribe("dev2/#") in (NOT_AUTHORIZED, 0x80)
            assert device.publish("dev1/x", b"1") == 0
            assert device.received() == ("dev1/x", b"1")
            guard.push(frames.end("dev1", frames.EXPIRED))
            device.wait_closed()
            assert watch.received() == ("watch/will", b"gone")
            device.stop()


@contextlib.contextmanager
def bridging(directory: Path, remote: Broker, local: Make, **login: str) -> Iterator[Broker]:
    """Run a broker that opens a bridge to another one: ``up/#`` goes there, ``down/#`` comes."""
    lines = [
        "connection uplink",
        f"address 127.0.0.1:{remote.port}",
        "topic up/# out 1",
        "topic down/# in 1",
        "remote_clientid uplink",
        "notifications false",
        "restart_timeout 1",
        *(f"{key} {value}" for key, value in login.items()),
    ]
    own = directory / "local"
    own.mkdir()
    with local(*lines) as broker:
        yield broker


def test_a_bridge_is_a_client_where_it_comes_in_and_free_where_it_is_opened(
    directory: Path, plugin: Plugin, guard: FakeGuard, any_program: str
) -> None:
    """At its own broker Mosquitto asks no plugin about it: its topic lines are its permissions."""
    token = {"remote_username": "uplink", "remote_password": JWT}
    (directory / "remote").mkdir()

    def decide(connect: Question, request: int) -> bytes | None:
        own = {
            "uplink": allow(["up/open"], ["down/open", "down/#"]),
            "local": allow(["#"], ["#"]),
            "remote": allow(["#"], ["#"]),
        }
        return own[connect.client_id](connect, request)

    guard.decide = decide
    with Broker(directory / "remote", plugin, guard.path, program=any_program) as remote:
        local_guard = FakeGuard(directory / "local.sock")
        local_guard.decide = decide
        local_guard.start()

        def make_local(*lines: str) -> Broker:
            path = directory / "local"
            return Broker(path, plugin, local_guard.path, lines=lines, program=any_program)

        with bridging(directory, remote, make_local, **token) as local:
            until(lambda: any(c.client_id == "uplink" for c in guard.connects), "the bridge")
            asked = next(c for c in guard.connects if c.client_id == "uplink")
            assert (asked.username, asked.password) == (b"uplink", JWT.encode())
            with (
                Device(remote.port, "remote") as there,
                Device(local.port, "local") as here,
            ):
                assert there.subscribe("up/#") == 1
                assert here.subscribe("down/#") == 1
                until(lambda: _arrives(here, there, "up/open"), "the bridge to carry")
                assert here.publish("up/secret", b"1") in TAKEN
                assert here.publish("up/open", b"last") in TAKEN
                heard = [there.received()]
                while heard[-1] != ("up/open", b"last"):
                    heard.append(there.received())
                assert {topic for topic, _ in heard} == {"up/open"}
                assert there.publish("down/x", b"2") in TAKEN
                assert here.received() == ("down/x", b"2")
            assert all(c.client_id != "uplink" for c in local_guard.connects)
        local_guard.stop()


def _arrives(sender: Device, reader: Device, topic: str) -> bool:
    sender.publish(topic, b"probe")
    with contextlib.suppress(Exception):
        return reader.messages.get(timeout=0.2) == (topic, b"probe")
    return False


@pytest.mark.parametrize("option", ["use_identity_as_username", "use_subject_as_username"])
def test_who_a_certificate_lets_in_may_do_nothing_and_the_log_says_so_once(
    make: Make, directory: Path, guard: FakeGuard, option: str
) -> None:
    listener = Listener(directory)
    with make(*listener.lines, f"{option} true") as broker:
        with Device(broker.port, "dev1") as device:
            assert device.publish("dev1/x") in TAKEN
            assert device.publish("dev2/x") == NOT_AUTHORIZED
        assert UNASKED not in broker.log
        for name in ("holder", "dev2"):
            with Device(listener.port, name, tls=listener.tls) as stranger:
                assert stranger.publish(f"{name}/x") == NOT_AUTHORIZED
                assert stranger.subscribe(f"{name}/#") == NOT_AUTHORIZED
        assert len(guard.connects) == 1
        assert broker.log.count(UNASKED) == 1
        assert "does its listener have use_identity_as_username" in broker.log


def test_in_the_mode_mixed_a_certificate_has_nothing_of_a_tokens_session(
    make: Make, directory: Path, guard: FakeGuard
) -> None:
    """Mosquitto asks nobody whether it may come in, so it can end the session; but not read it."""
    listener = Listener(directory)
    lines = (acl_file(directory, "pattern readwrite #\n"), *listener.lines)
    with make(*lines, "use_identity_as_username true", mode="mixed") as broker:
        with Device(broker.port, "dev1", clean=False, token=JWT) as device:
            assert device.subscribe("dev1/#") == 1
        until(lambda: guard.heard(Offline, client_id="dev1"), "OFFLINE")
        guard.decide = allow(["dev1/#"])
        with Device(broker.port, "sender", token=JWT) as sender:
            assert sender.publish("dev1/x", b"queued") == 0
        with Device(listener.port, "dev1", clean=False, tls=listener.tls) as thief:
            assert thief.subscribe("dev1/#") == NOT_AUTHORIZED
            assert thief.publish("lawn/x") == NOT_AUTHORIZED
            assert thief.messages.empty()
        assert UNASKED in broker.log
        with Device(listener.port, "holder", tls=listener.tls) as own:
            assert own.publish("lawn/x") in TAKEN


# Acknowledgements


def test_a_refused_message_is_acknowledged_as_not_authorized_at_either_qos(make: Make) -> None:
    """MQTT 5: PUBACK and PUBREC 0x87, by which QoS 2 is over (section 4.3.3): no PUBREL."""
    with make() as broker, mqtt5.Client(broker.port, "dev1", None) as device:
        answer = device.connect(username="", password=JWT.encode())
        assert answer is not None
        assert (answer.kind, answer.reason) == (mqtt5.CONNACK, 0)
        for qos, kind in ((1, mqtt5.PUBACK), (2, mqtt5.PUBREC)):
            for topic, reasons in (("another/x", (NOT_AUTHORIZED,)), ("dev1/x", TAKEN)):
                identifier = device.send(topic, b"x", qos)
                said = device.find(kind, mqtt5.DISCONNECT)
                assert said is not None
                assert (said.kind, said.identifier) == (kind, identifier)
                assert said.reason in reasons
        assert device.ping()

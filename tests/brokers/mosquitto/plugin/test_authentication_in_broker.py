# SPDX-License-Identifier: Apache-2.0
"""The plugin in a broker whose clients use MQTT 5's enhanced authentication (section 4.12)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.frames import Admitted, Connect, Continue, Offline, Reauthenticate
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.broker import (
    NOT_AUTHORIZED,
    TAKEN,
    Broker,
    Device,
    Plugin,
    build_plugin,
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
from tests.mqtt5 import AUTH, CONNACK, CONTINUE, DISCONNECT, REAUTHENTICATE, Client, Packet
from tests.running import broker_version

BAD_METHOD = 0x8C
METHOD = "OAUTH2-JWT"
TOKEN = b"the.token.itself"


@pytest.fixture
def broker(directory: Path, plugin: Plugin, guard: FakeGuard, any_program: str) -> Iterator[Broker]:
    with Broker(directory, plugin, guard.path, program=any_program) as started:
        yield started


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    return build_plugin(tmp_path_factory.mktemp("quick"), "plain")


def asking(data: bytes, then: Decide, reply: bytes = b"") -> Decide:
    """Return what asks for more, until something was said."""

    def decide(question: Question, request: int) -> bytes | None:
        said = question.data if not isinstance(question, Connect) or question.method else b"x"
        if not said:
            return frames.decision(request, question.epoch, reason=CONTINUE, data=data)
        if not reply:
            return then(question, request)
        permissions = allowed(["#"], ["#"])
        return frames.decision(request, question.epoch, allowed=permissions, data=reply)

    return decide


def old(broker: Broker) -> bool:
    """Whether it is the Mosquitto that says CONNACK where a DISCONNECT belongs."""
    assert broker.program is not None
    return broker_version(broker.program) <= (2, 0, 11)


def ends_by_protocol_error(broker: Broker, client: Client, answer: Packet | None) -> bool:
    """Whether that is what the client was told, if it was told anything."""
    said = [] if answer is None else [answer, *client.rest()]
    reasons = {(packet.kind, packet.reason) for packet in said}
    return reasons == (set() if old(broker) and answer is None else {(DISCONNECT, 0x82)})


def last(guard: FakeGuard, kind: type[Question]) -> Question:
    return [frame for frame in guard.asked if isinstance(frame, kind)][-1]


# Coming in


def test_a_token_in_connect_lets_in_and_the_token_stays_nowhere(
    broker: Broker, guard: FakeGuard
) -> None:
    with Client(broker.port, "dev1") as client:
        answer = client.connect(TOKEN, username="somebody")
        assert answer is not None
        assert (answer.kind, answer.reason) == (CONNACK, 0)
        assert client.subscribe("dev1/#") == 1
        assert client.subscribe("dev2/#") == NOT_AUTHORIZED
        assert client.publish("dev1/x", b"hi") == 0
        assert client.received() == ("dev1/x", b"hi")
        (asked,) = guard.connects
        assert (asked.method, asked.data) == (METHOD, TOKEN)
        assert (asked.username, asked.password, asked.delayed) == (None, None, False)
        until(lambda: guard.heard(Admitted, epoch=asked.epoch), "ADMITTED")
        assert "u'principal-dev1'" in broker.log
    assert TOKEN.decode() not in broker.log


def test_the_guard_may_ask_for_more_and_say_something_with_a_yes(
    broker: Broker, guard: FakeGuard
) -> None:
    guard.decide = asking(b"a nonce", allow(), reply=b"welcome")
    with Client(broker.port, "dev1") as client:
        asked = client.connect()
        assert asked is not None
        assert (asked.kind, asked.reason, asked.data) == (AUTH, CONTINUE, b"a nonce")
        answer = client.auth(CONTINUE, TOKEN)
        assert answer is not None
        assert (answer.kind, answer.reason, answer.data) == (CONNACK, 0, b"welcome")
        assert client.ping()
        first, second = guard.asked
        assert isinstance(second, Continue)
        assert (second.epoch, second.client_id, second.data) == (first.epoch, "dev1", TOKEN)
        assert "u'dev1'" in broker.log  # the principal


def test_an_assigned_identifier_is_known_as_such(broker: Broker, guard: FakeGuard) -> None:
    with Client(broker.port, "") as client:
        answer = client.connect(TOKEN)
        assert answer is not None
        assert answer.reason == 0
        assert answer.assigned.startswith("auto-")
        assert last(guard, Connect).client_id == answer.assigned
        assert guard.connects[-1].assigned


@pytest.mark.parametrize(
    ("reason", "told"),
    [(0x87, 0x87), (0x86, 0x87), (0x85, 0x87), (0x8C, 0x8C), (0x88, None)],
)
@pytest.mark.parametrize("asked", [False, True], ids=["at once", "after a continue"])
def test_what_a_client_is_told_of_a_refusal(
    broker: Broker, guard: FakeGuard, reason: int, told: int | None, asked: bool
) -> None:
    """Unavailable must not look like a bad token: there it just closes.

    Newer brokers add a DISCONNECT after a continue: "protocol error", or "unspecified error".
    """
    adds = asked and not old(broker)
    guard.decide = asking(b"", refuse(reason)) if asked else refuse(reason)
    with Client(broker.port, "dev1") as client:
        answer = client.connect(None if asked else TOKEN)
        if asked:
            answer = client.auth(CONTINUE, TOKEN)
        said = [] if answer is None else [answer, *client.rest()]
        expected = [] if told is None else [(CONNACK, told)]
        if adds:
            expected.append((DISCONNECT, 0x80 if told is None else 0x82))
        assert [(packet.kind, packet.reason) for packet in said] == expected
    assert not guard.heard(Admitted)


def test_without_a_guard_it_just_closes(broker: Broker, guard: FakeGuard) -> None:
    guard.stop()
    with Client(broker.port, "dev1") as client:
        assert client.connect(TOKEN) is None


def test_a_method_without_end_is_refused_unasked(broker: Broker, guard: FakeGuard) -> None:
    with Client(broker.port, "dev1", "m" * 256) as client:
        answer = client.connect(TOKEN)
        assert answer is not None
        assert answer.reason == BAD_METHOD
    assert guard.asked == []


def test_who_hangs_up_while_it_is_asked_takes_nothing_with_it(
    broker: Broker, guard: FakeGuard
) -> None:
    """Mosquitto up to 2.0.12 would take the other's session out of its tables."""
    with Client(broker.port, "dev1") as client, Client(broker.port, "watcher") as watcher:
        assert watcher.connect(TOKEN)
        guard.decide = allow(subscribe=["#"])
        assert watcher.auth(REAUTHENTICATE, TOKEN)
        assert watcher.subscribe("#") == 1
        assert client.connect(TOKEN, clean=False, expiry=3600)
        guard.decide = asking(b"", allow())
        for _ in range(3):
            other = Client(broker.port, "dev1")
            # The username of whom it would like to be, and a will that one may send.
            asked = other.connect(username="principal-dev1", will="dev1/will", expiry=3600)
            assert asked is not None
            assert asked.reason == CONTINUE
            other.close()
        until(lambda: sum(isinstance(f, Offline) for f in guard.told) == 3, "their ends")
        assert client.publish("dev1/x") in TAKEN
        assert watcher.received()[0] == "dev1/x"
        assert watcher.nothing_waits()  # no will
        with Client(broker.port, "dev1") as successor:
            again = successor.connect(TOKEN, clean=False, expiry=3600)
            assert again is not None
            assert (again.reason, again.body[0]) == (0, 1)  # its session is present
            assert client.find(DISCONNECT) is not None or client.next() is None
            guard.push(frames.end("dev1", frames.REVOKED))
            assert successor.find(DISCONNECT) is not None  # it can be ended


def test_a_client_that_never_answers_is_not_mistaken_for_another(
    broker: Broker, guard: FakeGuard
) -> None:
    guard.decide = asking(b"", allow())
    with Client(broker.port, "dev1") as first, Client(broker.port, "dev1") as second:
        for client in (first, second):
            asked = client.connect()
            assert asked is not None
            assert asked.reason == CONTINUE
        answer = second.auth(CONTINUE, TOKEN)
        assert answer is not None
        assert answer.reason == 0
        epochs = [frame.epoch for frame in guard.connects]
        assert guard.asked[-1].epoch == epochs[1]
        answer = first.auth(CONTINUE, TOKEN)  # it takes the place of the second
        assert answer is not None
        assert answer.reason == 0
        assert guard.asked[-1].epoch == epochs[0]
        assert first.publish("dev1/x") in TAKEN


# Going on


def test_the_next_tokens_rights_replace_the_last_ones_at_once(
    broker: Broker, guard: FakeGuard
) -> None:
    guard.decide = allow(["#"], ["dev1/#"])
    with Client(broker.port, "dev1") as client:
        client.connect(TOKEN)
        assert client.subscribe("dev1/#") == 1
        guard.decide = allow(["#"], ["dev1/new"])
        answer = client.auth(REAUTHENTICATE, b"another.token.one")
        assert answer is not None
        assert (answer.kind, answer.reason) == (AUTH, 0)
        assert client.publish("dev1/old") == 0
        assert client.publish("dev1/new", b"new") == 0
        assert client.received() == ("dev1/new", b"new")
        guard.decide = allow(["#"], ["dev1/#"])
        assert client.auth(REAUTHENTICATE, TOKEN)
        assert client.publish("dev1/old", b"old") == 0
        assert client.received() == ("dev1/old", b"old")
        asked = last(guard, Reauthenticate)
        assert isinstance(asked, Reauthenticate)
        assert (asked.epoch, asked.client_id) == (guard.connects[-1].epoch, "dev1")
        assert (asked.method, asked.data, asked.peer) == (METHOD, TOKEN, "127.0.0.1")
        until(lambda: guard.told.count(Admitted(epoch=asked.epoch, client_id="dev1")) == 3, "them")


def test_the_timer_is_armed_anew(broker: Broker, guard: FakeGuard) -> None:
    """dev2 came in later with the lifetime that dev1 had: when it has ended, dev1 would have."""
    guard.decide = allow(seconds=2)
    with Client(broker.port, "dev1") as client, Client(broker.port, "dev2") as other:
        client.connect(TOKEN)
        guard.decide = allow()
        assert client.auth(REAUTHENTICATE, TOKEN)
        guard.decide = allow(seconds=2)
        other.connect(TOKEN)
        assert other.find(DISCONNECT) is not None
        assert client.publish("dev1/x") in TAKEN
        guard.decide = allow(seconds=0.3)
        assert client.auth(REAUTHENTICATE, TOKEN)
        assert client.find(DISCONNECT) is not None
        assert "client dev1: its token has run out" in broker.log


@pytest.mark.parametrize("asked", [False, True], ids=["at once", "after a continue"])
def test_a_refused_one_ends_the_connection(broker: Broker, guard: FakeGuard, asked: bool) -> None:
    """2.0.11 says it with a CONNACK, later ones with a DISCONNECT."""
    with Client(broker.port, "dev1") as client:
        client.connect(TOKEN)
        guard.decide = asking(b"", refuse()) if asked else refuse()
        answer = client.auth(REAUTHENTICATE, None if asked else TOKEN)
        if asked:
            answer = client.auth(CONTINUE, TOKEN)
        assert answer is not None
        said = [(packet.kind, packet.reason) for packet in (answer, *client.rest())]
        if old(broker):
            assert said == [(CONNACK, NOT_AUTHORIZED)]
        else:
            assert said == [(DISCONNECT, NOT_AUTHORIZED), (DISCONNECT, 0x82)]
    epoch = guard.connects[-1].epoch
    until(lambda: guard.heard(Offline, epoch=epoch), "OFFLINE")
    assert guard.told.count(Admitted(epoch=epoch, client_id="dev1")) == 1
    guard.decide = allow()
    with Client(broker.port, "dev1") as client:
        answer = client.connect(TOKEN)
        assert answer is not None
        assert answer.reason == 0


def test_what_cannot_be_decided_leaves_the_connection_as_it_was(
    broker: Broker, guard: FakeGuard
) -> None:
    guard.decide = allow(["dev1/a"])
    with Client(broker.port, "dev1") as client:
        client.connect(TOKEN)
        guard.decide = refuse(0x88)
        answer = client.auth(REAUTHENTICATE, TOKEN)
        assert answer is not None
        assert (answer.kind, answer.reason) == (AUTH, 0)
        guard.stop()
        answer = client.auth(REAUTHENTICATE, TOKEN)
        assert answer is not None
        assert (answer.kind, answer.reason) == (AUTH, 0)
        assert client.publish("dev1/a") in TAKEN
        assert client.publish("dev1/b") == NOT_AUTHORIZED
        assert broker.log.count("client dev1 goes on with the token that it had") == 2
        guard.start()
        until(lambda: guard.links == 2, "a new link")
        (record,) = guard.records
        assert next(str(rule.filter) for rule in record.grant.permissions.rules) == "dev1/a"
        assert guard.told.count(Admitted(epoch=record.epoch, client_id="dev1")) == 1


def test_an_end_that_has_come_is_not_put_off(broker: Broker, guard: FakeGuard) -> None:
    """Whichever is first there, the kick or the AUTH: the connection ends."""
    with Client(broker.port, "dev1") as client:
        client.connect(TOKEN)
        guard.push(frames.replace(allowed(), "dev1", epoch=guard.connects[-1].epoch, expires_at=1))
        client.send_auth(REAUTHENTICATE, TOKEN)
        client.rest()
    assert not any(isinstance(frame, Reauthenticate) for frame in guard.asked) or (
        "it was ended meanwhile" in broker.log
    )
    until(lambda: guard.heard(Offline, epoch=guard.connects[-1].epoch), "OFFLINE")


def test_a_stored_session_queues_by_the_last_token_that_was_taken(
    broker: Broker, guard: FakeGuard
) -> None:
    guard.decide = allow(["#"], ["#"])
    with Client(broker.port, "dev1") as client, Client(broker.port, "sender") as sender:
        sender.connect(TOKEN)
        client.connect(TOKEN, clean=False, expiry=3600)
        for topic in ("news/a", "news/b", "news/c"):
            assert client.subscribe(topic) == 1
        guard.decide = allow(["#"], ["news/a", "news/c"], seconds=0.5)
        assert client.auth(REAUTHENTICATE, TOKEN)
        assert client.find(DISCONNECT) is not None  # it has run out
        for topic in ("news/a", "news/b"):
            assert sender.publish(topic) in TAKEN
        guard.decide = allow(["#"], ["#"])
        with Client(broker.port, "dev1") as again:
            again.connect(TOKEN, clean=False, expiry=3600)
            assert again.received()[0] == "news/a"
            assert again.nothing_waits()
        # A refused one leaves the session as it was, too.
        with Client(broker.port, "dev1") as again:
            again.connect(TOKEN, clean=False, expiry=3600)
            guard.decide = refuse()
            assert again.auth(REAUTHENTICATE, TOKEN)
            again.rest()
        assert sender.publish("news/c") in TAKEN
        guard.decide = allow(["#"], ["#"])
        with Client(broker.port, "dev1") as again:
            again.connect(TOKEN, clean=False, expiry=3600)
            assert again.received()[0] == "news/c"


def test_another_owners_grant_ends_it(broker: Broker, guard: FakeGuard) -> None:
    """The guard would not say so; the plugin looks again."""
    with Client(broker.port, "dev1") as client:
        client.connect(TOKEN)
        guard.decide = allow(subject="somebody")
        answer = client.auth(REAUTHENTICATE, TOKEN)
        assert answer is not None
        assert answer.reason == NOT_AUTHORIZED
        client.rest()


def test_what_was_revoked_while_it_was_decided_about_stays_revoked(
    broker: Broker, guard: FakeGuard
) -> None:
    with Client(broker.port, "dev1") as client:
        client.connect(TOKEN)
        decide = allow()

        def revoke_first(question: Question, request: int) -> bytes:
            grant = decide(question, request)
            assert grant is not None
            return frames.end("dev1", frames.REVOKED, epoch=question.epoch) + grant

        guard.decide = revoke_first
        answer = client.auth(REAUTHENTICATE, TOKEN)
        assert answer is not None
        assert answer.reason in (NOT_AUTHORIZED, 0x98)
        client.rest()
    epoch = guard.connects[-1].epoch
    until(lambda: guard.heard(Offline, epoch=epoch), "OFFLINE")
    assert guard.told.count(Admitted(epoch=epoch, client_id="dev1")) == 1


def test_a_replace_before_the_decision_gives_way_to_it(broker: Broker, guard: FakeGuard) -> None:
    with Client(broker.port, "dev1") as client:
        client.connect(TOKEN)
        decide = allow(["dev1/new"])

        def replace_first(question: Question, request: int) -> bytes:
            grant = decide(question, request)
            assert grant is not None
            old = frames.replace(allowed(["dev1/old"]), "dev1", epoch=question.epoch)
            return old + grant

        guard.decide = replace_first
        assert client.auth(REAUTHENTICATE, TOKEN)
        assert client.publish("dev1/old") == NOT_AUTHORIZED
        assert client.publish("dev1/new") in TAKEN


def test_another_method_than_that_of_connect_ends_it_unasked(
    broker: Broker, guard: FakeGuard
) -> None:
    with Client(broker.port, "dev1") as client:
        client.connect(TOKEN)
        answer = client.auth(REAUTHENTICATE, TOKEN, method="JWT")
        assert ends_by_protocol_error(broker, client, answer)
    assert not any(isinstance(frame, Reauthenticate) for frame in guard.asked)


def test_who_came_in_with_a_password_cannot_reauthenticate(
    broker: Broker, guard: FakeGuard
) -> None:
    with Client(broker.port, "dev1", None) as client:
        client.connect(username="", password=TOKEN)
        answer = client.auth(REAUTHENTICATE, TOKEN, method=METHOD)
        assert ends_by_protocol_error(broker, client, answer)
    assert not any(isinstance(frame, Reauthenticate) for frame in guard.asked)


def test_an_auth_without_a_word_in_it_ends_the_connection_and_nothing_else(
    broker: Broker, guard: FakeGuard
) -> None:
    """Mosquitto takes it for an answer, though nothing was asked."""
    with Client(broker.port, "dev1") as client, Client(broker.port, "dev2") as other:
        client.connect(TOKEN, clean=False, expiry=3600)
        other.connect(TOKEN)
        client.say(AUTH)
        client.rest()
        assert other.publish("dev2/x") in TAKEN
    assert not any(isinstance(frame, Continue) for frame in guard.asked)
    with Client(broker.port, "dev1") as client:
        answer = client.connect(TOKEN, clean=False, expiry=3600)
        assert answer is not None
        assert (answer.reason, answer.body[0]) == (0, 1)


def test_a_reload_drops_nobody_and_asks_nobody(broker: Broker, guard: FakeGuard) -> None:
    stored = Client(broker.port, "stored")
    stored.connect(TOKEN, clean=False, expiry=3600)
    assert stored.subscribe("stored/#") == 1
    stored.close()
    until(lambda: guard.heard(Offline, client_id="stored"), "OFFLINE")
    with Client(broker.port, "dev1") as client, Client(broker.port, "dev2") as other:
        client.connect(TOKEN)
        guard.decide = asking(b"", allow())
        other.connect()
        other.auth(CONTINUE, TOKEN)
        asked = len(guard.asked)
        for _ in range(2):
            broker.reload()
            assert client.publish("dev1/x") in TAKEN
            assert other.publish("dev2/x") in TAKEN
        assert len(guard.asked) == asked
        assert client.auth(REAUTHENTICATE, TOKEN) is not None
    with Client(broker.port, "stored") as client:
        answer = client.connect(TOKEN, clean=False, expiry=3600)
        assert answer is not None
        assert answer.body[0] == 1


def test_a_takeover_by_either_kind_of_authentication(broker: Broker, guard: FakeGuard) -> None:
    with Client(broker.port, "dev1") as client:
        client.connect(TOKEN)
        with Device(broker.port, "dev1") as device:
            client.rest()
            assert device.publish("dev1/x") in TAKEN
            with Client(broker.port, "dev1") as again:
                answer = again.connect(TOKEN)
                assert answer is not None
                assert answer.reason == 0
                device.wait_closed()
                assert again.auth(REAUTHENTICATE, TOKEN)
                assert again.publish("dev1/x") in TAKEN


def test_who_waits_for_the_same_identifier_takes_nobody_out_of_the_brokers_hands(
    directory: Path, plugin: Plugin, guard: FakeGuard, newest: str
) -> None:
    """Were it let in while the AUTH is decided about, the broker would free whom it is handling."""
    with (
        Broker(directory, plugin, guard.path, {"decisions": "delayed"}, program=newest) as broker,
        Client(broker.port, "dev1") as client,
    ):
        client.connect(TOKEN)
        waiting: list[tuple[Question, int]] = []
        guard.decide = lambda question, request: waiting.append((question, request))
        device = Device(broker.port, "dev1")
        device.begin()
        until(lambda: waiting, "a CONNECT that waits")

        def let_in_first(question: Question, request: int) -> bytes:
            decide = allow()
            first, second = decide(*waiting[0]), decide(question, request)
            assert first is not None
            assert second is not None
            return first + second

        guard.decide = let_in_first
        answer = client.auth(REAUTHENTICATE, TOKEN)
        assert answer is not None
        assert (answer.kind, answer.reason) == (AUTH, 0)
        assert "somebody waits to connect under its identifier" in broker.log
        assert not any(isinstance(frame, Reauthenticate) for frame in guard.asked)
        first = allow()(*waiting[0])
        assert first is not None
        guard.push(first)
        assert device.outcome() == 0
        assert device.publish("dev1/x") in TAKEN
        client.rest()
        device.stop()


# Who is asked and does not answer


def test_who_is_asked_and_does_not_answer_is_closed(
    directory: Path, plugin: Plugin, guard: FakeGuard, any_program: str
) -> None:
    options = {"exchange_timeout_ms": "300"}
    with Broker(directory, plugin, guard.path, options, program=any_program) as broker:
        guard.decide = asking(b"", allow())
        with Client(broker.port, "dev1") as client, Client(broker.port, "dev2") as other:
            assert other.connect()
            assert other.auth(CONTINUE, TOKEN)
            assert client.connect()
            assert all(packet.kind == DISCONNECT for packet in client.rest())
            until(lambda: guard.heard(Offline, client_id="dev1", kept=False), "OFFLINE")
            # Who is in and does not answer stays as it was; a later answer is none.
            assert other.auth(REAUTHENTICATE)
            with Client(broker.port, "dev3") as third:
                assert third.connect()
                third.rest()
            other.send_auth(CONTINUE, TOKEN)
            other.rest()
            until(lambda: guard.heard(Offline, client_id="dev2"), "OFFLINE")


def test_ten_thousand_who_were_asked_and_hung_up_leave_nothing(
    directory: Path, guard: FakeGuard, any_program: str, quick: Plugin
) -> None:
    """One more than 4,096 at a time would be refused: none of them is remembered."""
    guard.decide = asking(b"", allow())
    quiet = ("log_type error", "log_type warning")
    with Broker(directory, quick, guard.path, lines=quiet, program=any_program) as broker:
        for number in range(10_000):
            with Client(broker.port, f"dev{number % 100}") as client:
                asked = client.connect()
                assert asked is not None
                assert asked.reason == CONTINUE


def test_an_auth_behind_a_disconnect_takes_no_session_away(
    broker: Broker, guard: FakeGuard
) -> None:
    """Mosquitto 2.1 takes it from what it has read already, and asks the plugin about it."""
    guard.decide = asking(b"", allow())
    with Client(broker.port, "dev1") as client, client.together():
        client.send_connect(TOKEN, clean=False, expiry=3600)
        client.say(DISCONNECT, bytes((0, 0)))
        client.say(AUTH)
        client.say(AUTH)
    until(lambda: guard.heard(Offline, client_id="dev1"), "OFFLINE")
    with Client(broker.port, "dev1") as client:
        answer = client.connect(TOKEN, clean=False, expiry=3600)
        assert answer is not None
        assert (answer.kind, answer.reason) == (CONNACK, 0)
        assert answer.body[0] == 1, "the session was there"
        assert client.ping()

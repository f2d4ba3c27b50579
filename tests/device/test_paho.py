# SPDX-License-Identifier: Apache-2.0
"""What a paho client with `attach` does at each thing that a broker can do."""

from __future__ import annotations

import contextlib
import logging
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt import __version__ as mqtt_version
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import MalformedPacket  # type: ignore[attr-defined]

from keyfob.device import Token, TokenSource, paho_authenticating, paho_session
from keyfob.device import paho_internals as inside
from keyfob.device.paho import Session, attach
from keyfob.device.paho_public import PublicSession
from keyfob.errors import ConfigError
from tests.device.parties import AUTH, Broker, Ticking, auth, broker, connack, tokens
from tests.device.world import SetClock, token_of
from tests.running import until

METHOD = "TEST"


def new_client(**options: Any) -> mqtt.Client:
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id="dev1",
        **{"protocol": mqtt.MQTTv5, **options},
    )
    client.reconnect_delay_set(1, 2)
    return client


@contextlib.contextmanager
def connected(client: mqtt.Client, port: int) -> Iterator[None]:
    client.connect_async("127.0.0.1", port, 30)
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()
        client._reset_sockets()


def soon() -> float:
    return 0.01


def yes(_made: Broker, kind: int, _body: bytes) -> bytes:
    return connack(0) if kind == 0x10 else b""


# Refusals


@pytest.mark.parametrize("code", [0x86, 0x87])
def test_one_new_token_is_fetched_for_one_that_is_refused(code: int) -> None:
    clock = Ticking()

    def answer(made: Broker, kind: int, _body: bytes) -> bytes:
        refused = made.connects[-1].password in {"token-1", "token-2"} and len(made.connects) < 6
        return connack(code if refused else 0) if kind == 0x10 else b""

    with tokens(clock) as (source, issued), broker(answer) as made:
        source.get()
        clock.now += 60
        client = new_client()
        session = attach(client, source, chance=soon)
        with connected(client, made.port):
            until("it is in", lambda: len(made.connects) == 6)
        session.close()
    shown = [connect.password for connect in made.connects]
    # The second one is young: a third would fare no better.
    assert shown == ["token-1", "token-2", "token-2", "token-2", "token-2", "token-2"]
    assert issued == ["token-1", "token-2"]


@pytest.mark.parametrize("code", [0x88, 0x89, 0x85, None], ids=str)
def test_nothing_else_has_a_new_token_fetched(code: int | None) -> None:
    clock = Ticking()

    def answer(made: Broker, kind: int, _body: bytes) -> bytes:
        if kind != 0x10:
            return b""
        if len(made.connects) > 3:
            return connack(0)
        if code is None:
            raise ConnectionError("closed without a word")
        return connack(code)

    with tokens(clock) as (source, issued), broker(answer) as made:
        source.get()
        clock.now += 60
        client = new_client()
        session = attach(client, source, chance=soon)
        with connected(client, made.port):
            until("it is in", lambda: session.token is not None and len(made.connects) == 4)
        session.close()
    assert {connect.password for connect in made.connects} == {"token-1"}
    assert issued == ["token-1"]


# Enhanced authentication


class Asked:
    """A method of two messages."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def begin(self) -> bytes:
        return b"hello"

    def respond(self, data: bytes) -> bytes:
        return data + b" " + self._token.access_token.encode()


def test_a_method_of_two_messages_connects_and_reauthenticates() -> None:
    def answer(made: Broker, kind: int, body: bytes) -> bytes:
        if kind == 0x10 or (kind == AUTH and body[0] == 0x19):
            return auth(0x18, METHOD, b"who?")
        if kind == AUTH:
            return connack(0, METHOD) if len(made.auths) == 1 else auth(0, METHOD)
        return b""

    with tokens(Ticking()) as (source, _), broker(answer) as made:
        client = new_client()
        session = attach(client, source, carry=f"auth:{METHOD}", method=Asked)
        assert isinstance(session, Session)
        with connected(client, made.port):
            until("it is in", lambda: session.connected)
            second = session.refresh().result(10)
            until("the broker has it", lambda: session.token == second)
        session.close()
    assert made.connects[0].data == b"hello"
    assert made.connects[0].method == METHOD
    assert made.auths == [
        (0x18, b"who? token-1"),
        (0x19, b"hello"),
        (0x18, b"who? token-2"),
    ]
    assert len(made.connects) == 1


@pytest.mark.parametrize("refusals", [0, 1])
def test_nothing_but_auth_goes_out_before_connack_and_nothing_is_stuck(refusals: int) -> None:
    """MQTT 5.0 section 3.1.2.11.9, of whoever names an authentication method."""
    seen: list[int] = []

    def answer(made: Broker, kind: int, body: bytes) -> bytes:
        seen.append(kind)
        match kind:
            case 0x10:
                return auth(0x18, METHOD, b"who?")
            case 0xF0:
                return connack(0 if len(made.auths) > refusals else 0x88, METHOD)
            case 0x80:
                return b"\x90\x04" + body[:2] + b"\0\0"
            case 0x30 if body.endswith(b"one"):
                return b"\x40\x02" + body[3:5]
        return b""

    with tokens(Ticking()) as (source, _), broker(answer) as made:
        client = new_client()
        session = attach(client, source, carry=f"auth:{METHOD}", method=Asked, chance=soon)
        client.connect("127.0.0.1", made.port, 30)
        subscribed, _ = client.subscribe("x")
        infos = [client.publish("x", "none"), client.publish("x", "one", 1)]
        assert {subscribed, *(info.rc for info in infos)} == {mqtt.MQTT_ERR_SUCCESS}
        client.loop_start()
        until("it is acknowledged", infos[1].is_published)
        client.disconnect()
        client.loop_stop()
        client._reset_sockets()
        session.close()
    # A connection that is lost takes along what paho does not keep.
    wanted = [0x80, 0x30, 0x30] if not refusals else [0x10, AUTH, 0x30]
    assert seen == [0x10, AUTH, *wanted]


def test_a_broker_that_does_not_know_the_method_gets_planned_reconnects() -> None:
    with tokens(Ticking()) as (source, _), broker(yes) as made:
        client = new_client()
        session = attach(client, source, carry=f"auth:{METHOD}")
        assert isinstance(session, Session)
        with connected(client, made.port):
            until("it is in", lambda: session.connected)
            session.refresh()
            until("it came again", lambda: len(made.connects) == 2 and session.connected)
        session.close()
    assert [connect.data for connect in made.connects] == [b"token-1", b"token-2"]
    assert made.ends[0] == "DISCONNECT"
    assert made.auths == []


def late(answer: bytes) -> tuple[Callable[[Broker, int, bytes], bytes], list[int]]:
    """A broker that answers its first re-authentication only when it is reminded by a QoS 0.

    And what it is still to acknowledge, which is done with the answer.
    """
    waiting: list[int] = []

    def answers(made: Broker, kind: int, body: bytes) -> bytes:
        if kind == 0x10:
            return connack(0, METHOD)
        if kind == AUTH:
            return b"" if len(made.auths) == 1 else auth(0, METHOD)
        if kind == 0x30 and body[2:3] == b"1":  # the topic is the QoS
            waiting.append(int.from_bytes(body[3:5]))
            return b""
        if kind != 0x30 or len(made.auths) != 1:
            return b""
        return answer + b"".join(b"\x40\x02" + each.to_bytes(2) for each in waiting)

    return answers, waiting


@pytest.mark.parametrize("renew", ["reauthenticate", "auto"])
def test_a_late_answer_to_a_reauthentication_counts(
    renew: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(paho_authenticating, "ANSWER", 0.1)
    monkeypatch.setattr(paho_session, "DRAIN", 60.0)
    answers, waiting = late(auth(0, METHOD))
    with tokens(Ticking()) as (source, _), broker(answers) as made:
        client = new_client()
        session = attach(client, source, carry=f"auth:{METHOD}", renew=renew)
        assert isinstance(session, Session)
        with connected(client, made.port):
            until("it is in", lambda: session.connected)
            client.publish("1", "x", qos=1)  # else nothing is waited for before a reconnect
            until("it waits for its acknowledgement", lambda: waiting)
            second = session.refresh().result(10)
            until("it has given up", lambda: "no answer to a re-auth" in caplog.text)
            client.publish("0", "x", qos=0)
            until("the broker has it", lambda: session.token == second)
            third = session.refresh().result(10)
            until("the broker has the next one", lambda: session.token == third)
            assert (made.ends, len(made.connects)) == ([], 1)
        session.close()
    assert [data for _, data in made.auths] == [b"token-2", b"token-3"]


@pytest.mark.parametrize("refusal", [b"\xe0\x01\x87", connack(0x87)], ids=["2.1", "2.0"])
def test_a_late_refusal_of_a_reauthentication_ends_the_connection(
    refusal: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(paho_authenticating, "ANSWER", 0.1)
    answers, _ = late(refusal)
    clock = Ticking()
    with tokens(clock) as (source, issued), broker(answers) as made:
        client = new_client()
        session = attach(
            client, source, carry=f"auth:{METHOD}", renew="reauthenticate", chance=soon
        )
        assert isinstance(session, Session)
        with connected(client, made.port):
            until("it is in", lambda: session.connected)
            clock.now += 60
            session.refresh().result(10)
            until("it has given up", lambda: "no answer to a re-auth" in caplog.text)
            client.publish("0", "x", qos=0)
            until("it came again", lambda: len(made.connects) == 2 and session.connected)
        session.close()
    assert made.connects[1].data == b"token-2"  # which is young: another would fare no better
    assert issued == ["token-1", "token-2"]


@pytest.mark.parametrize("method", ["", METHOD])
def test_each_token_is_told_as_it_goes_to_the_broker(method: str) -> None:
    def answer(_made: Broker, kind: int, _body: bytes) -> bytes:
        if kind == 0x10:
            return connack(0, method)
        return auth(0, METHOD) if kind == AUTH else b""

    shown: list[str] = []
    with tokens(Ticking()) as (source, _), broker(answer) as made:
        client = new_client()
        session = attach(client, source, carry=f"auth:{METHOD}", method=Asked)
        assert isinstance(session, Session)
        session.on_show = lambda token: shown.append(token.access_token)
        with connected(client, made.port):
            until("it is in", lambda: session.connected)
            second = session.refresh().result(10)
            until("the broker has it", lambda: session.token == second and session.connected)
        session.close()
    assert shown == ["token-1", "token-2"]
    assert len(made.connects) == (1 if method else 2)


@pytest.mark.parametrize("method", ["", METHOD])
def test_a_program_that_fails_at_being_told_of_a_token_ends_nothing(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(_made: Broker, kind: int, _body: bytes) -> bytes:
        return connack(0, method) if kind == 0x10 else auth(0, METHOD) if kind == AUTH else b""

    def failing(token: Token) -> None:
        assert (client.username, client.password) == (None, None)
        raise ZeroDivisionError(token.access_token)

    with tokens(Ticking()) as (source, _), broker(answer) as made:
        client = new_client()
        session = attach(client, source, carry=f"auth:{method}" if method else "password")
        assert isinstance(session, Session)
        session.on_show = failing
        with connected(client, made.port):
            until("it is in", lambda: session.connected)
            session.refresh().result(10)
            until("it goes on", lambda: session.connected and session.token == source.token)
        assert (client.username, client.password) == (None, None)
        session.close()
    assert "ZeroDivisionError" in caplog.text
    assert "token-" not in caplog.text


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2_000, reason="no descriptor is so high here"
)
def test_a_connection_that_paho_cannot_watch_is_tried_again_ever_later() -> None:
    """Its select raises, and it tells nobody that the connection is lost."""
    shown: list[Token] = []
    drawn: list[float] = []

    def chance() -> float:
        drawn.append(0.01)
        return drawn[-1]

    with tokens(Ticking()) as (source, _), broker(yes) as made, contextlib.ExitStack() as stack:
        source.get()
        client = new_client()
        session = attach(client, source, chance=chance)
        assert isinstance(session, Session)
        session.on_show = shown.append
        while stack.enter_context(socket.socket()).fileno() < 1_023:
            pass
        with connected(client, made.port):
            until("it tries again and again", lambda: len(shown) > 3)
        session.close()
    assert len(drawn) >= len(shown) - 1


def test_a_connack_that_refuses_on_a_live_connection_is_no_connect_of_the_users() -> None:
    """Mosquitto 2.0.11 so answers a re-authentication."""

    def answer(made: Broker, kind: int, _body: bytes) -> bytes:
        return connack(0x87 if kind == AUTH else 0, METHOD) if kind in {0x10, AUTH} else b""

    codes: list[int] = []
    with tokens(Ticking()) as (source, _), broker(answer) as made:
        client = new_client()
        session = attach(client, source, carry=f"auth:{METHOD}", chance=soon)
        assert isinstance(session, Session)
        client.on_connect = lambda _c, _u, _f, code, _p: codes.append(code.value)
        with connected(client, made.port):
            until("it is in", lambda: session.connected)
            session.refresh()
            until("it came again", lambda: len(made.connects) == 2 and session.connected)
        session.close()
    assert codes == [0, 0]


def test_no_malformed_packet_ends_the_network_thread() -> None:
    client = new_client()
    nowhere = TokenSource(token_endpoint="http://127.0.0.1:9/token", client_id="dev1")
    session = attach(client, nowhere, carry=f"auth:{METHOD}", method=Asked)
    assert isinstance(session, Session)
    known = st.sampled_from([0, 1, 3, 0x15, 0x16, 0x18, 0x22, 0x87, 0xFF])

    @given(
        st.sampled_from([0x20, 0xF0]),
        st.lists(known, max_size=12).map(bytes) | st.binary(max_size=30),
    )
    @settings(deadline=None)
    def handled(kind: int, body: bytes) -> None:
        session._authenticating.connecting(Asked(token_of(SetClock())))
        client._in_packet |= {"command": kind, "packet": bytearray(body)}
        # paho takes its own for an error of the protocol from 2.2 on; before, a CONNACK may end it.
        older = kind == 0x20 and not mqtt_version.startswith("2.2")
        with contextlib.suppress(Exception if older else MalformedPacket):
            client._packet_handle()

    handled()
    client._reset_sockets()


def test_the_log_of_paho_shows_no_token() -> None:
    lines: list[str] = []
    with tokens(Ticking()) as (source, _), broker(yes) as made:
        client = new_client()
        client.on_log = lambda _c, _u, _level, text: lines.append(text)
        session = attach(client, source, carry=f"auth:{METHOD}")
        assert isinstance(session, Session)
        with connected(client, made.port):
            until("it is in", lambda: session.connected)
        session.close()
    assert any("CONNECT" in line for line in lines)
    assert "token-1" not in "".join(lines)


@pytest.mark.parametrize(("host", "loud"), [("broker.test", True), ("127.0.0.1", False)])
def test_a_token_without_tls_is_warned_about_once_unless_it_stays_on_this_machine(
    host: str, loud: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tokens(Ticking()) as (source, _), broker(yes) as made:
        client = new_client()
        session = attach(client, source, chance=soon)
        assert isinstance(session, Session)

        def here(*_: Any) -> socket.socket:
            return socket.create_connection(("127.0.0.1", made.port))

        monkeypatch.setattr(client, "_create_socket_connection", here)
        client.connect_async(host, made.port)
        client.loop_start()
        until("it is in", lambda: session.connected)
        session.refresh()
        until("it came again", lambda: len(made.connects) == 2 and session.connected)
        client.disconnect()
        client.loop_stop()
        client._reset_sockets()
    assert caplog.text.count("without TLS") == loud


# WebSocket


# paho forgets the socket of a handshake that fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("own", [{"X-Own": "1"}, lambda usual: {**usual, "X-Own": "1"}])
def test_every_handshake_has_a_good_token_beside_the_users_own_headers(own: Any) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    requests: list[str] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    requests.append(connection.recv(4096).decode())

    threading.Thread(target=serve, daemon=True).start()
    with tokens(Ticking()) as (source, _):
        client = new_client(transport="websockets")
        session = attach(client, source, carry="header", chance=soon)
        client.ws_set_options("/mqtt", own)
        with connected(client, listener.getsockname()[1]):
            until("it has come", lambda: requests)
            source.renew().result(10)
            seen = len(requests)
            until("it has come again", lambda: len(requests) > seen + 1)
        session.close()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    assert "Authorization: Bearer token-1\r\n" in requests[0]
    assert "Authorization: Bearer token-2\r\n" in requests[-1]
    assert all("X-Own: 1\r\n" in request for request in requests)


# What the user has


def test_a_client_whose_token_was_its_username_keeps_it_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with tokens(Ticking()) as (source, _), broker(yes) as made:
        client = new_client()
        client.username_pw_set(username=source.get().access_token, password="")
        with caplog.at_level(logging.WARNING):
            session = attach(client, source)
        with connected(client, made.port):
            until("it is in", lambda: made.connects)
        session.close()
    assert (made.connects[0].username, made.connects[0].password) == ("token-1", "")
    assert "brokers write into their logs" in caplog.text


def test_an_authorization_server_that_is_away_does_not_end_the_loop() -> None:
    failed: list[int] = []
    client = new_client()
    away = TokenSource(token_endpoint="http://127.0.0.1:9/token", client_id="dev1")
    session = attach(client, away, chance=soon)
    client.on_connect_fail = lambda *_: failed.append(1)
    with connected(client, 9):
        until("it has tried again and again", lambda: len(failed) > 2)
        assert client._thread is not None
        assert client._thread.is_alive()
    session.close()


def test_what_others_publish_while_a_connection_is_made_comes_behind_connect() -> None:
    """By itself paho sends it first, and a broker then closes the connection."""
    early: list[int] = []
    over = threading.Event()

    def answer(made: Broker, kind: int, _body: bytes) -> bytes:
        if kind == 0x30 and len(made.connects) == len(made.ends):
            early.append(len(made.connects))
        return yes(made, kind, b"")

    with tokens(Ticking()) as (source, _), broker(answer) as made:
        client = new_client()

        def opened(*_: Any) -> None:
            over.wait(0.1)  # the moment in question, made long

        client.on_socket_open = opened
        session = attach(client, source, chance=soon)
        assert isinstance(session, Session)

        def publish() -> None:
            while not over.is_set():
                client.publish("x", "y", qos=len(made.connects) % 3)
                over.wait(0.005)

        publishing = threading.Thread(target=publish)
        client.connect_async("127.0.0.1", made.port, 30)
        # As in loop_forever, whoever publishes sends at once; with a thread of paho's it queues.
        looping = threading.Thread(target=lambda: client.loop_forever(retry_first_connection=True))
        publishing.start()
        looping.start()
        for number in (1, 2, 3):
            until("it is in", lambda: session.connected and len(made.connects) >= number)  # noqa: B023
            session.refresh().result(10)
        over.set()
        publishing.join()
        client.disconnect()
        looping.join(20)
        client._reset_sockets()
    assert early == []


def test_bounds_that_are_wished_for_during_a_wait_are_kept() -> None:
    client = new_client()
    nowhere = TokenSource(token_endpoint="http://127.0.0.1:9/token", client_id="dev1")
    session = attach(client, nowhere)
    assert isinstance(session, Session)
    client._reconnect_wait()
    assert (client._reconnect_min_delay, client._reconnect_max_delay) == (1, 2)
    session._shadows.call = lambda *_: client.reconnect_delay_set(3, 4)  # type: ignore[method-assign]
    client._reconnect_wait()
    assert (client._reconnect_min_delay, client._reconnect_max_delay) == (3, 4)
    client._reset_sockets()


def test_a_disconnect_of_the_user_ends_the_loop_and_is_the_last_word() -> None:
    with tokens(Ticking()) as (source, _), broker(yes) as made:
        client = new_client()
        session = attach(client, source)
        assert isinstance(session, Session)

        @client.disconnect_callback()
        def ended(*_: Any) -> None:
            client.disconnect()  # within a planned reconnect

        with connected(client, made.port):
            until("it is in", lambda: session.connected)
            session.refresh()
            until(
                "its loop has ended",
                lambda: not (thread := client._thread) or not thread.is_alive(),
            )
        session.close()
    assert len(made.connects) == 1


class Slow:
    """A source whose next token comes when a test lets it come."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self.asked, self.let = threading.Event(), threading.Event()

    def get(self, timeout: float = 30.0) -> Token:
        self.asked.set()
        self.let.wait(20)
        return self._source.get(timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


@pytest.mark.parametrize("again", [False, True], ids=["first", "lost"])
@pytest.mark.parametrize("loop", ["start", "forever"])
def test_a_disconnect_while_a_token_is_waited_for_is_the_last_word(loop: str, again: bool) -> None:
    with tokens(Ticking()) as (source, _), broker(yes) as made:
        client = new_client()
        slow = Slow(source)
        session = attach(client, slow, chance=soon)
        assert isinstance(session, Session)
        client.connect_async("127.0.0.1", made.port, 30)
        if again:
            slow.let.set()
        running = threading.Thread(target=lambda: client.loop_forever(retry_first_connection=True))
        if loop == "start":
            client.loop_start()
            assert client._thread is not None
            running = client._thread
        else:
            running.start()
        if again:
            until("it is in", lambda: session.connected)
            slow.let.clear()
            slow.asked.clear()
            client._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        assert slow.asked.wait(20)
        client.disconnect()
        slow.let.set()
        running.join(20)
        assert not running.is_alive(), "its loop goes on"
        client._reset_sockets()
        session.close()
    assert len(made.connects) == again


def test_a_disconnect_as_the_socket_opens_is_the_last_word() -> None:
    with tokens(Ticking()) as (source, _), broker(yes) as made:
        client = new_client()
        session = attach(client, source)
        codes: list[int] = []
        client.on_connect = lambda _c, _u, _f, code, _p: codes.append(code.value)

        def opened(*_: Any) -> None:
            client.disconnect()

        client.on_socket_open = opened
        client.connect_async("127.0.0.1", made.port, 30)
        running = threading.Thread(target=lambda: client.loop_forever(retry_first_connection=True))
        running.start()
        running.join(20)
        assert not running.is_alive(), "its loop goes on"
        client._reset_sockets()
        session.close()
    assert made.ends == ["DISCONNECT"]
    assert codes == []


@pytest.mark.parametrize(
    ("options", "wish", "said"),
    [
        ({"protocol": mqtt.MQTTv311}, {"carry": "auth:OAUTH2-JWT"}, "MQTTv5"),
        ({}, {"carry": "password", "renew": "reauthenticate"}, "carry=auth"),
        ({}, {"carry": "header"}, "websockets"),
        ({}, {"renew": "sometimes"}, "write one of"),
    ],
)
def test_wishes_that_do_not_fit_are_named(
    options: dict[str, Any], wish: dict[str, Any], said: str
) -> None:
    with tokens(Ticking()) as (source, _), pytest.raises(ConfigError, match=said):
        attach(new_client(**options), source, **wish)


def test_a_client_has_one_session_at_a_time() -> None:
    with tokens(Ticking()) as (source, _):
        client = new_client()
        before = dict(vars(client))
        session = attach(client, source)
        with pytest.raises(ConfigError, match="a session already"):
            attach(client, source)
        session.close()
        assert vars(client) == before
        attach(client, source).close()


# A paho that is not known inside


def test_an_unknown_paho_still_shows_good_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "_METHODS", (*inside._METHODS, "_of_another_age"))
    seen: list[str] = []
    with tokens(Ticking()) as (source, _), broker(yes) as made:
        client = new_client()
        client.on_pre_connect = lambda *_: seen.append("pre_connect")
        client.on_connect = lambda *_: seen.append("connect")
        for wish in ({"carry": "auth:OAUTH2-JWT"}, {"renew": "reconnect"}):
            with pytest.raises(ConfigError, match="_of_another_age"):
                attach(client, source, **wish)  # type: ignore[arg-type]
        session = attach(client, source)
        assert isinstance(session, PublicSession)
        with connected(client, made.port):
            until("it is in", lambda: "connect" in seen)
        session.close()
    assert made.connects[0].password == "token-1"
    assert seen == ["pre_connect", "connect"]
    assert client.password is None

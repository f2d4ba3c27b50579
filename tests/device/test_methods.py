# SPDX-License-Identifier: Apache-2.0
"""Whatever a method does, its client goes on: it may be anybody's code in paho's network thread."""

from __future__ import annotations

from typing import Any

import pytest

from keyfob.device import Token
from keyfob.device.carrying import Carry, carried
from keyfob.device.methods import LONGEST_DATA, answered, begun
from keyfob.device.paho import Session, attach
from keyfob.errors import ProtocolError, TokenUnavailableError
from tests.device.parties import AUTH, Broker, Ticking, auth, broker, connack, tokens
from tests.device.test_carrying import token
from tests.device.test_paho import METHOD, connected, new_client, soon
from tests.running import until

SECRET = "s3cret-that-nobody-may-see"


class Exchange:
    """Raises, or gives what it was made with."""

    def __init__(self, does: Any) -> None:
        self._does = does

    def begin(self) -> Any:
        return self.respond(b"")

    def respond(self, _data: bytes) -> Any:
        if isinstance(self._does, BaseException):
            raise self._does
        return self._does


WRONG = [ValueError(SECRET), KeyError(SECRET), AssertionError(), None, SECRET, 5, [SECRET]]


@pytest.mark.parametrize("does", WRONG, ids=repr)
def test_whatever_a_method_does_is_a_protocol_error_that_repeats_nothing(does: Any) -> None:
    for call in (
        lambda: begun(lambda _: Exchange(does), token()),
        lambda: answered(Exchange(does), b"x"),
    ):
        with pytest.raises(ProtocolError) as caught:
            call()
        assert SECRET not in str(caught.value)
    with pytest.raises(TokenUnavailableError) as unavailable:
        carried(token(), Carry.parse("auth:x"), method=lambda _: Exchange(does))
    assert unavailable.value.message.startswith("x: ")
    assert SECRET not in str(unavailable.value)


def test_a_method_that_cannot_even_be_made_is_one_too() -> None:
    def broken(_: Token) -> Exchange:
        raise ZeroDivisionError

    with pytest.raises(ProtocolError, match="ZeroDivisionError"):
        begun(broken, token())


def test_what_no_packet_holds_is_never_sent() -> None:
    with pytest.raises(ProtocolError) as caught:
        answered(Exchange(b"x" * (LONGEST_DATA + 1)), b"")
    assert caught.value.code == "token_too_long"
    assert answered(Exchange(b"x" * LONGEST_DATA), b"") == b"x" * LONGEST_DATA
    assert answered(Exchange(bytearray(b"x")), b"") == b"x"


@pytest.mark.parametrize("fails", ["make", "begin", "respond"])
def test_a_method_that_fails_now_and_then_ends_no_network_thread(fails: str) -> None:
    """It fails until somebody mends it: then the client comes in, without being touched."""
    mended: list[bool] = []

    class Fragile:
        def __init__(self, _: Token) -> None:
            self._may("make")

        def _may(self, what: str) -> bytes:
            if what == fails and not mended:
                raise RuntimeError(SECRET)
            return b"data"

        def begin(self) -> bytes:
            return self._may("begin")

        def respond(self, _data: bytes) -> bytes:
            return self._may("respond")

    def answer(_made: Broker, kind: int, _body: bytes) -> bytes:
        if kind == 0x10:
            return auth(0x18, METHOD)
        return connack(0, METHOD) if kind == AUTH else b""

    failures: list[int] = []
    with tokens(Ticking()) as (source, _), broker(answer) as made:
        client = new_client()
        session = attach(client, source, carry=f"auth:{METHOD}", method=Fragile, chance=soon)
        assert isinstance(session, Session)
        client.on_connect_fail = lambda *_: failures.append(1)
        client.on_disconnect = lambda *_: failures.append(1)
        with connected(client, made.port):
            until("it has failed again and again", lambda: len(failures) > 2)
            mended.append(True)
            until("it is in", lambda: session.connected)


def test_a_method_that_cannot_answer_at_a_reauthentication_ends_the_connection() -> None:
    """The broker would take nothing but that answer, from a client that goes on."""

    class Mute:
        def __init__(self, _: Token) -> None:
            pass

        def begin(self) -> bytes:
            return b"data"

        def respond(self, _data: bytes) -> bytes:
            raise RuntimeError

    def answer(_made: Broker, kind: int, _body: bytes) -> bytes:
        if kind == 0x10:
            return connack(0, METHOD)
        return auth(0x18, METHOD) if kind == AUTH else b""

    with tokens(Ticking()) as (source, _), broker(answer) as made:
        client = new_client()
        session = attach(client, source, carry=f"auth:{METHOD}", method=Mute, chance=soon)
        assert isinstance(session, Session)
        with connected(client, made.port):
            until("it is in", lambda: session.connected)
            second = session.refresh().result(10)
            until("it came again", lambda: session.connected and session.token == second)
        session.close()
    assert made.ends[0] == "close"


def test_a_method_that_fails_at_a_reauthentication_costs_no_connection() -> None:
    failed: list[bool] = []

    class Once:
        def __init__(self, token: Token) -> None:
            self._token = token.access_token

        def begin(self) -> bytes:
            if self._token != "token-1":
                failed.append(True)
                raise RuntimeError
            return b"data"

        def respond(self, _data: bytes) -> bytes:
            return b""

    def answer(_made: Broker, kind: int, _body: bytes) -> bytes:
        return connack(0, METHOD) if kind == 0x10 else b""

    with tokens(Ticking()) as (source, _), broker(answer) as made:
        client = new_client()
        session = attach(client, source, carry=f"auth:{METHOD}", method=Once)
        assert isinstance(session, Session)
        with connected(client, made.port):
            until("it is in", lambda: session.connected)
            session.refresh().result(10)
            until("it was to begin", lambda: failed)
            assert client._thread is not None
            assert client._thread.is_alive()
            assert session.connected
    assert len(made.connects) == 1

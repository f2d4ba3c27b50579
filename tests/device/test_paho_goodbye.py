# SPDX-License-Identifier: Apache-2.0
"""How long a planned end of a connection is waited for."""

from __future__ import annotations

import contextlib
import fcntl
import resource
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.device import paho_goodbye, paho_session
from keyfob.device.paho import Session, attach
from keyfob.device.paho_goodbye import Patience
from tests.device.parties import Broker, Ticking, broker, connack, tokens
from tests.device.test_paho import connected, new_client
from tests.running import PATIENCE, until

WITHOUT = 2.0


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.booleans())), st.floats(-10.0, 20.0))
def test_patience_counts_from_the_last_progress_and_has_an_end(
    looks: list[tuple[float, bool]], most: float
) -> None:
    now = progress = 0.0
    patience, mark = Patience(WITHOUT, most, lambda: now), 0
    assert patience.lasts(mark)
    for seconds, gets_on in looks:
        now += seconds
        if gets_on:
            progress, mark = now, mark + 1
        assert patience.lasts(mark) == (now < progress + WITHOUT and now < max(most, WITHOUT))


def test_a_broker_that_takes_nothing_any_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (paho_session, "DRAIN"),
        (paho_goodbye, "WRITE_PATIENCE"),
        (paho_goodbye, "HEAR_PATIENCE"),
    ):
        monkeypatch.setattr(module, name, 0.1)
    shown: list[str] = []
    over, reading = threading.Event(), threading.Event()

    def answer(_made: Broker, kind: int, _body: bytes) -> bytes:
        if kind == 0x30:
            reading.set()
            over.wait(PATIENCE)  # and reads nothing meanwhile
        return connack(0) if kind == 0x10 else b""

    with tokens(Ticking()) as (source, _), broker(answer) as made:
        client = new_client()
        session = attach(client, source)
        assert isinstance(session, Session)
        session.on_show = lambda token: shown.append(token.access_token)
        with connected(client, made.port):
            until("it is in", lambda: session.connected)
            client.publish("x", "read")
            until("it reads no more", reading.is_set)
            client.publish("x", bytes(30_000_000))  # more than the system takes
            session.refresh()
            until("it has come again", lambda: shown == ["token-1", "token-2"])
            over.set()
        session.close()
    assert made.ends[0] == "close"


@pytest.mark.skipif(
    resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2_000, reason="no descriptor is so high here"
)
def test_a_socket_with_a_high_descriptor_is_waited_for_as_any_other() -> None:
    with contextlib.ExitStack() as stack:
        pair = [stack.enter_context(each) for each in socket.socketpair()]
        near, far = (
            stack.enter_context(socket.socket(fileno=fcntl.fcntl(each, fcntl.F_DUPFD, 1_500)))
            for each in pair
        )
        assert near.fileno() > 1_023  # beyond which select raises
        assert paho_goodbye._await(near, 0.0, writable=True)
        assert not paho_goodbye._await(near, 0.0)
        far.send(b"x")
        assert paho_goodbye._await(near, 10.0)

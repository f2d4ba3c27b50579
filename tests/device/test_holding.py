# SPDX-License-Identifier: Apache-2.0
"""What is published at the very end of a token: it waits for the next one, and is never lost."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from keyfob.device import TokenSource
from keyfob.device.paho import Session, attach
from tests.device.parties import AUTH, Broker, Ticking, auth, broker, connack, tokens
from tests.device.test_paho import METHOD, connected, new_client
from tests.running import until

CONNECT, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 0x10, 0x30, 0x40, 0x50, 0x60, 0x70
NOT_AUTHORIZED, QUOTA_EXCEEDED = 0x87, 0x97
LIFETIME = 3600

Refuses = Callable[["World"], int]


class World:
    """A client, its broker, and what went between them.

    Attributes:
        seen: The kinds of the packets that came to the broker.
        told: What ``on_publish`` was told of each message.
    """

    def __init__(self, refuses: Refuses, *, v5: bool = True) -> None:
        self.clock = Ticking()
        self.seen: list[int] = []
        self.told: list[int] = []
        self._refuses = refuses
        self._v5 = v5
        self.client: mqtt.Client
        self.session: Session
        self.source: TokenSource

    def answer(self, _made: Broker, kind: int, body: bytes) -> bytes:
        self.seen.append(kind)
        match kind:
            case 0x10:
                return connack(0, METHOD) if self._v5 else b"\x20\x02\x00\x00"
            case 0xF0:
                return auth(0, METHOD)
            case 0x30:
                at = 2 + int.from_bytes(body[:2])
                code = self._refuses(self)
                kind_of = PUBREC if body.endswith(b"two") else PUBACK
                rest = bytes((code,)) if code else b""
                return bytes((kind_of, 2 + len(rest))) + body[at : at + 2] + rest
            case 0x60:
                return bytes((PUBCOMP, 2)) + body[:2]
        return b""

    def published(self) -> int:
        return self.seen.count(PUBLISH)

    def publish(self, text: str = "one") -> mqtt.MQTTMessageInfo:
        return self.client.publish("t", text, qos=2 if text == "two" else 1)

    def ends_in(self, seconds: float) -> None:
        """Let the token that was shown have so many seconds left."""
        self.clock.now += LIFETIME - seconds


@contextlib.contextmanager
def world(refuses: Refuses = lambda _: 0, *, v5: bool = True, **wish: Any) -> Iterator[World]:
    made = World(refuses, v5=v5)
    with tokens(made.clock, LIFETIME) as (source, _), broker(made.answer) as at:
        made.source = source
        made.client = client = new_client(protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311)
        client.on_publish = lambda _c, _u, _mid, code, _p: made.told.append(code.value)
        session = attach(client, source, **wish)
        assert isinstance(session, Session)
        made.session = session
        with connected(client, at.port):
            until("it is in", lambda: session.connected)
            yield made
        session.close()


def away(monkeypatch: pytest.MonkeyPatch, made: World) -> None:
    """Let there be no next token."""
    monkeypatch.setattr(made.source, "renew", lambda: None)


def once(code: int) -> Refuses:
    """Refuse the first message."""
    return lambda made: code if made.published() == 1 else 0


@pytest.mark.parametrize("v5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
def test_what_is_published_when_the_token_is_over_goes_with_the_next_one(v5: bool) -> None:
    with world(v5=v5) as made:
        made.ends_in(2)
        made.publish()
        until("it is acknowledged", lambda: made.told)
    assert made.seen[:3] == [CONNECT, CONNECT, PUBLISH]
    assert made.told == [0]


def test_what_has_waited_goes_as_soon_as_a_reauthentication_is_over() -> None:
    with world(carry=f"auth:{METHOD}") as made:
        made.ends_in(2)
        for _ in range(30):  # more than may be in flight
            made.publish()
        until("all are acknowledged", lambda: len(made.told) == 30)
    assert made.seen[:3] == [CONNECT, AUTH, PUBLISH]
    assert made.told == [0] * 30


def test_a_window_without_a_bound_holds_back_as_any_other() -> None:
    with world(carry=f"auth:{METHOD}") as made:
        made.client._max_inflight_messages = 0
        made.ends_in(2)
        for _ in range(30):
            made.publish()
        until("all are acknowledged", lambda: len(made.told) == 30)
        assert made.client.max_inflight_messages == 0
    assert made.seen[:3] == [CONNECT, AUTH, PUBLISH]


@pytest.mark.parametrize("text", ["one", "two"])
@pytest.mark.parametrize("wish", [{}, {"carry": f"auth:{METHOD}"}], ids=["reconnect", "reauth"])
def test_what_the_end_of_the_token_had_refused_is_sent_again(text: str, wish: Any) -> None:
    with world(once(NOT_AUTHORIZED), **wish) as made:
        made.ends_in(9)  # by the broker's clock it is over
        made.publish(text)
        until("it is acknowledged", lambda: made.told)
        assert made.client._inflight_messages == 0
    assert made.published() == 2
    assert made.told == [0]


def test_what_was_refused_is_tried_again_though_no_next_token_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with world(once(NOT_AUTHORIZED), renew="expire") as made:
        away(monkeypatch, made)
        made.ends_in(9)
        made.publish()
        until("it is acknowledged", lambda: made.told)
    assert made.seen[:3] == [CONNECT, PUBLISH, PUBLISH]


def test_a_broker_that_goes_on_with_an_old_token_is_published_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with world(renew="expire") as made:
        away(monkeypatch, made)
        made.ends_in(2)
        made.publish()
        made.clock.now += 60
        until("it is acknowledged", lambda: made.told)
    assert made.seen[:2] == [CONNECT, PUBLISH]


@pytest.mark.parametrize(
    ("code", "left"), [(NOT_AUTHORIZED, 60), (QUOTA_EXCEEDED, 2.0), (QUOTA_EXCEEDED, 9)]
)
def test_what_is_refused_for_another_reason_is_told_to_on_publish_alone(
    code: int, left: float, caplog: pytest.LogCaptureFixture
) -> None:
    with world(once(code)) as made, caplog.at_level(logging.WARNING):
        made.ends_in(left)
        made.publish()
        until("it is told", lambda: made.told)
    assert made.told == [code]
    assert f"0x{code:02X}" not in caplog.text


def test_without_on_publish_the_log_tells_of_what_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with world(once(QUOTA_EXCEEDED)) as made, caplog.at_level(logging.WARNING):
        made.client.on_publish = None
        made.publish()
        until("it is told", lambda: f"0x{QUOTA_EXCEEDED:02X}" in caplog.text)


def test_a_session_that_is_closed_leaves_nothing_held_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with world(renew="expire") as made:
        away(monkeypatch, made)
        made.ends_in(2)
        made.publish()
        made.session.close()
        until("it is acknowledged", lambda: made.told)
        assert made.client.max_inflight_messages == 20

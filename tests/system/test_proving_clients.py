# SPDX-License-Identifier: Apache-2.0
"""paho clients with `attach` that prove to have a key, at Mosquitto: `ace` and OAUTH2-DPOP.

They publish all the time, and re-authenticate in the middle of that: Mosquitto ends a connection
that sends anything else between the messages of an exchange.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from keyfob.cli.server_database import server_database
from keyfob.device import Token, TokenSource
from keyfob.device.methods import Method
from keyfob.device.paho import Session, attach
from keyfob.device.proving import ace, oauth2_dpop, req_cnf
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.register import Register
from keyfob.server.wishes import DeviceWish, Rights
from keyfob.tokens.sign import SigningKey
from tests.running import Installation, until
from tests.system.test_proof_of_possession import up

__all__ = ["up"]  # a fixture

RENEWALS = 2
Made = tuple[TokenSource, str, Method]


def made(up: Installation, device: str, what: str) -> Made:
    """A source of tokens that are bound to a key, the method's name, and the method."""
    symmetric = ClientMetadata(access_token_confirmation="symmetric" if what == "HS256" else "")
    rights = Rights(publish=("d/{device}/#",), subscribe=("d/{device}/#",))
    with Register.open(server_database(up.settings)) as register:
        wish = DeviceWish(device, rights=rights, metadata=symmetric)
        secret = register.add_device(wish).secret
    asking: dict[str, Any] = {"client_id": device, "client_secret": secret, "ca": up.ca}
    issuer = f"https://localhost:{up.settings.server.port}"
    if what == "HS256":
        return TokenSource(issuer, **asking), "ace", ace()
    if what.startswith("DPoP"):
        key = SigningKey.generate(what.removeprefix("DPoP "))
        return (
            TokenSource(issuer, dpop=key, **asking),
            "OAUTH2-DPOP",
            oauth2_dpop(key, client_id=device),
        )
    key = SigningKey.generate(what)
    return TokenSource(issuer, parameters=req_cnf(key), **asking), "ace", ace(key)


class Life:
    """A client that publishes to itself from a thread of its own."""

    def __init__(self, device: str) -> None:
        self.topic = f"d/{device}/x"
        self.came: list[int] = []
        self.sent = 0
        self.happened: list[str] = []
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=device, protocol=mqtt.MQTTv5
        )
        self.client.on_connect = lambda c, *_: self._connected(c)
        self.client.on_disconnect = lambda _c, _u, _f, code, _p: self.happened.append(str(code))
        self.client.on_message = lambda _c, _u, message: self.came.append(int(message.payload))
        self.client.will_set(self.topic, b"-1", qos=1)
        self._subscribed, self._over = threading.Event(), threading.Event()
        self.client.on_subscribe = lambda *_: self._subscribed.set()

    def _connected(self, client: mqtt.Client) -> None:
        self.happened.append("connected")
        client.subscribe(self.topic, 1)

    @contextlib.contextmanager
    def publishing(self, port: int) -> Iterator[None]:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 60
        self.client.connect("localhost", port, 30, clean_start=False, properties=properties)
        self.client.loop_start()
        try:
            until("it has subscribed", self._subscribed.is_set)
            thread = threading.Thread(target=self._publish)
            thread.start()
            yield
            self._over.set()
            thread.join()
            until("all has come", lambda: set(self.came) >= set(range(self.sent)))
        finally:
            self._over.set()
            self.client.disconnect()
            self.client.loop_stop()

    def _publish(self) -> None:
        while not self._over.is_set():
            self.client.publish(self.topic, str(self.sent), qos=self.sent % 2 + 1)
            self.sent += 1
            time.sleep(0.001)


@pytest.mark.parametrize("what", ["EdDSA", "ES256", "HS256", "DPoP EdDSA", "DPoP RS256"])
def test_a_client_that_proves_its_key_publishes_through_reauthentications(
    up: Installation, what: str
) -> None:
    device = f"proves-{what.replace(' ', '').lower()}"
    source, name, method = made(up, device, what)
    life = Life(device)
    session = attach(life.client, source, carry=f"auth:{name}", method=method)
    assert isinstance(session, Session)
    shown: list[Token | None] = []
    with life.publishing(up.settings.mosquitto.plain_port or 0):
        for _ in range(RENEWALS):
            shown.append(session.token)
            session.refresh().result(20)
            until("the broker has it", lambda: session.token not in shown)
            seen = life.sent
            until("it goes on", lambda: life.sent > seen + 20)  # noqa: B023
    # A guard that has to ask about an opaque token may keep a first CONNECT waiting too long.
    since = life.happened[life.happened.index("connected") :]
    assert since == ["connected", "Normal disconnection"]
    assert sorted(life.came) == list(range(life.sent)), "lost, twice, or a will"
    renewed = ("reauthenticated", "")
    # A guard that has to ask, and is kept waiting, lets the old token count on, without a word.
    least = 1 if what == "HS256" else RENEWALS
    until("each is told", lambda: least <= up.told(device).count(renewed) <= RENEWALS)


@contextlib.contextmanager
def all_the_time(life: Life) -> Iterator[None]:
    """Publish more often than an exchange lasts, also with QoS 1 and 2, which is acknowledged."""
    over = threading.Event()

    def publish() -> None:
        for number in itertools.count():
            if over.is_set():
                return
            life.client.publish(life.topic, "x", qos=number % 3 if number % 50 == 0 else 0)
            time.sleep(0.0005)  # without, paho's own queue would grow for ever

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    until("all is acknowledged", lambda: not life.client._out_messages)


@pytest.mark.parametrize("what", ["ES256", "DPoP EdDSA"])
def test_a_client_that_publishes_all_the_time_gets_in_again_and_again(
    up: Installation, what: str
) -> None:
    """Mosquitto ends a connection that sends anything but AUTH before it has its CONNACK."""
    device = f"busy-{what.replace(' ', '').lower()}"
    source, name, method = made(up, device, what)
    life = Life(device)
    life.client.on_connect = lambda *_: life.happened.append("connected")
    session = attach(life.client, source, carry=f"auth:{name}", method=method, renew="reconnect")
    assert isinstance(session, Session)
    shown: list[Token] = []
    session.on_show = shown.append
    life.client.connect_async("localhost", up.settings.mosquitto.plain_port or 0, 30)
    life.client.loop_start()
    try:
        with all_the_time(life):
            for _ in range(RENEWALS):
                until("it is in", lambda: session.connected and session.token == source.token)
                session.refresh().result(20)
            until("it is in", lambda: session.connected and session.token == source.token)
    finally:
        life.client.disconnect()
        life.client.loop_stop()
    assert life.happened == ["connected", "Normal disconnection"] * (RENEWALS + 1)
    assert len(shown) == RENEWALS + 1, "an attempt was ended"


def test_a_key_that_is_not_the_tokens_is_refused(up: Installation) -> None:
    source, name, _ = made(up, "thief", "ES256")
    life = Life("thief")
    attach(life.client, source, carry=f"auth:{name}", method=ace(SigningKey.generate("ES256")))
    life.client.connect_async("localhost", up.settings.mosquitto.plain_port or 0)
    life.client.loop_start()
    refused = ("refused", "confirmation_unproven")
    try:
        until("the audit has it", lambda: refused in up.told("thief"))
    finally:
        life.client.disconnect()
        life.client.loop_stop()

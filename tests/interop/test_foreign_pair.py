# SPDX-License-Identifier: Apache-2.0
"""The device SDK where nothing else is Keyfob's: Keycloak's tokens at RabbitMQ."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from keyfob.device import ClientSecretBasic, TokenSource
from keyfob.device.aiomqtt import Client
from keyfob.device.paho import Session, attach
from tests.interop.conftest import told
from tests.interop.foreign.keycloak import SECRET, Keycloak
from tests.interop.foreign.rabbitmq import APPLICATION, DEVICE, RabbitMQ, rabbitmq
from tests.interop.foreign.server import ForeignServer
from tests.interop.foreign.servers import KEYCLOAK
from tests.running import until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1200)]

LIFETIME = 8
RENEWALS = 3
MAXIMUM_CONNECT_TIME, NOT_AUTHORIZED = 0xA0, 0x87
BAD_USERNAME_OR_PASSWORD, BAD_AUTHENTICATION_METHOD = 0x86, 0x8C
VERSIONS = pytest.mark.parametrize("v5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
Fresh = Callable[[str], str]


@pytest.fixture(scope="module")
def keycloak(foreign_servers: Callable[[str], ForeignServer]) -> Keycloak:
    server = foreign_servers(KEYCLOAK)
    assert isinstance(server, Keycloak)
    return server


@pytest.fixture(scope="module")
def broker(
    request: pytest.FixtureRequest,
    keycloak: Keycloak,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RabbitMQ]:
    with contextlib.ExitStack() as stack:
        with told(request.config):
            folder = tmp_path_factory.mktemp("rabbitmq")
            made = stack.enter_context(rabbitmq(keycloak, folder, sys.stderr.write))
        yield made


def source_of(keycloak: Keycloak, name: str) -> TokenSource:
    auth = ClientSecretBasic(client_id=name, client_secret=SECRET)
    return TokenSource(keycloak.issuer, auth=auth)


class Device:
    """A paho client with ``attach``, and what happened to it."""

    def __init__(self, keycloak: Keycloak, broker: RabbitMQ, name: str, *, v5: bool) -> None:
        self.name = name
        self.source = source_of(keycloak, name)
        self.sent = 0
        self.came = Counter[int]()
        self.connects: list[int] = []
        self.ends: list[int] = []
        self.refused: list[int] = []
        self.shown: list[str] = []
        self.session: Any = None
        self._v5, self._port = v5, broker.port
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311,
            clean_session=None if v5 else False,
        )
        self.client.reconnect_delay_set(1, 4)
        self.client.will_set(f"devices/{name}/will", "-1", qos=1)
        self.subscribed = threading.Event()
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = lambda _c, _u, _f, code, _p: self.ends.append(code.value)
        self.client.on_message = lambda _c, _u, message: self.came.update([int(message.payload)])
        self.client.on_publish = self._on_publish
        self.client.on_subscribe = lambda _c, _u, _m, codes, _p: (
            self.subscribed.set() if codes[0].value == 1 else None
        )

    def _on_connect(self, _c: Any, _u: Any, flags: Any, code: Any, _p: Any) -> None:
        self.connects.append(code.value)
        self.shown.append(self.session.token.access_token if self.session.token else "")
        if code == 0 and not flags.session_present:
            self.client.subscribe(f"commands/{self.name}/#", 1)

    def _on_publish(self, _c: Any, _u: Any, _mid: int, code: Any, _p: Any) -> None:
        if code.value >= 0x80:
            self.refused.append(code.value)

    @contextlib.contextmanager
    def living(self, **wish: Any) -> Iterator[Session]:
        session = self.session = attach(self.client, self.source, **wish)
        assert isinstance(session, Session)
        options: dict[str, Any] = {}
        if self._v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 300
            options = {"clean_start": False, "properties": properties}
        self.client.connect_async("127.0.0.1", self._port, 30, **options)
        self.client.loop_start()
        try:
            yield session
        finally:
            self.client.disconnect()
            self.client.loop_stop()
            self.client._reset_sockets(sockpair_only=True)
            session.close()

    def publish(self) -> None:
        self.client.publish(f"devices/{self.name}/n", str(self.sent), qos=1)
        self.sent += 1


class Application:
    """An aiomqtt client in a thread of its own, which hears all devices and commands one."""

    def __init__(self, keycloak: Keycloak, broker: RabbitMQ, name: str, device: str) -> None:
        self.sent = 0
        self.came = Counter[int]()
        self.connects = 0
        self._device = device
        self._ended = threading.Event()
        self._ready = threading.Event()
        self.quiet = threading.Event()
        self.quiet.set()
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 300
        self._client: Callable[[], Client] = lambda: Client(
            "127.0.0.1",
            broker.port,
            auth=source_of(keycloak, name),
            identifier=name,
            protocol=mqtt.MQTTv5,
            clean_start=False,
            properties=properties,
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()))

    @contextlib.contextmanager
    def living(self) -> Iterator[None]:
        self._thread.start()
        try:
            until("the application is in", self._ready.is_set, 60)
            yield
        finally:
            self._ended.set()
            self._thread.join(30)

    async def _live(self) -> None:
        async for client in self._client().reconnecting():
            async with client:
                await client.subscribe(f"devices/{self._device}/#", qos=1)
                self._ready.set()
                reading = asyncio.create_task(self._read(client.messages))
                try:
                    await self._command(client, reading)
                finally:
                    reading.cancel()
            if self._ended.is_set():
                return

    async def _command(self, client: Client, reading: asyncio.Task[None]) -> None:
        token = None
        while not self._ended.is_set():
            if reading.done():
                await reading
            if not self.quiet.is_set():
                self.sent += 1  # it is kept, whatever becomes of the connection
                await client.publish(f"commands/{self._device}/n", str(self.sent - 1), qos=1)
            if client.session.token != token:
                token = client.session.token
                self.connects += 1
            await asyncio.sleep(0.02)

    async def _read(self, messages: AsyncIterator[Any]) -> None:
        async for message in messages:
            self.came[int(message.payload)] += 1


def added(keycloak: Keycloak, fresh: Fresh, scopes: list[str], lifetime: int = LIFETIME) -> str:
    name = fresh("pair")
    keycloak.add_with_scopes(name, scopes, lifetime)
    return name


def rejected(broker: RabbitMQ, position: int) -> list[str]:
    """What the broker says of CONNECTs that it refused, because of their tokens' ends or else."""
    lines = broker.log()[position:].splitlines()
    return [line for line in lines if "Rejected MQTT connection" in line]


@VERSIONS
def test_both_go_through_renewals_and_nothing_is_lost_either_way(
    keycloak: Keycloak, broker: RabbitMQ, fresh: Fresh, v5: bool
) -> None:
    position = len(broker.log())
    device = Device(keycloak, broker, added(keycloak, fresh, DEVICE), v5=v5)
    name = added(keycloak, fresh, APPLICATION)
    application = Application(keycloak, broker, name, device.name)
    with application.living(), device.living() as session:
        until("the device is subscribed", device.subscribed.is_set, 60)
        application.quiet.clear()
        deadline = time.monotonic() + 120
        while len(device.connects) <= RENEWALS or application.connects <= RENEWALS:
            assert time.monotonic() < deadline
            device.publish()
            time.sleep(0.02)
        application.quiet.set()
        until("all is there", lambda: set(application.came) >= set(range(device.sent)), 60)
        until("all commands, too", lambda: set(device.came) >= set(range(application.sent)), 60)
        assert session.connected
    print(
        f"\n{device.sent} and {application.sent} messages, {len(device.connects)} and "
        f"{application.connects} connections, "
        f"{(application.came - Counter(set(application.came))).total()} and "
        f"{(device.came - Counter(set(device.came))).total()} came twice"
    )
    assert set(device.connects) == {0}
    assert device.refused == []
    assert application.came[-1] == 0, "a will has fired"
    assert rejected(broker, position) == []


@VERSIONS
def test_a_token_for_somebody_else_is_refused_and_asked_for_anew_but_once(
    keycloak: Keycloak, broker: RabbitMQ, fresh: Fresh, v5: bool
) -> None:
    name = fresh("billing")
    keycloak.token_for_another_audience(name)
    position = len(broker.log())
    device = Device(keycloak, broker, name, v5=v5)
    with device.living():
        until("it has tried again and again", lambda: len(device.connects) >= 5, 120)
    # paho gives the return codes of 3.1.1 the names of MQTT 5.
    assert set(device.connects) == {BAD_USERNAME_OR_PASSWORD}
    assert len(set(device.shown)) <= 2
    assert len(rejected(broker, position)) >= 5


def test_enhanced_authentication_is_a_method_that_it_does_not_know(
    keycloak: Keycloak, broker: RabbitMQ, fresh: Fresh
) -> None:
    device = Device(keycloak, broker, added(keycloak, fresh, DEVICE), v5=True)
    with device.living(carry="auth:OAUTH2-JWT"):
        until("it is told", lambda: device.connects, 60)
    assert set(device.connects) == {BAD_AUTHENTICATION_METHOD}


@VERSIONS
def test_where_nothing_is_planned_a_tokens_end_costs_a_connection_and_no_message(
    keycloak: Keycloak, broker: RabbitMQ, fresh: Fresh, v5: bool
) -> None:
    position = len(broker.log())
    device = Device(keycloak, broker, added(keycloak, fresh, DEVICE), v5=v5)
    application = Application(keycloak, broker, added(keycloak, fresh, APPLICATION), device.name)
    with application.living(), device.living(renew="expire"):
        until("the device is subscribed", device.subscribed.is_set, 60)
        deadline = time.monotonic() + 120
        while len(device.ends) < 2:
            assert time.monotonic() < deadline
            device.publish()
            time.sleep(0.02)
        sent = set(range(device.sent))
        until("all is there", lambda: set(application.came) >= sent, 60)
    print(f"\n{device.sent} messages, ended with {device.ends}, wills: {application.came[-1]}")
    assert set(device.connects) == {0}
    assert device.refused == []
    if v5:
        assert set(device.ends[:2]) <= {MAXIMUM_CONNECT_TIME, NOT_AUTHORIZED}
    assert rejected(broker, position) == []


@VERSIONS
def test_what_is_published_while_the_authorization_server_is_away_comes_when_it_is_back(
    keycloak: Keycloak, broker: RabbitMQ, fresh: Fresh, v5: bool
) -> None:
    position = len(broker.log())
    device = Device(keycloak, broker, added(keycloak, fresh, DEVICE), v5=v5)
    name = added(keycloak, fresh, APPLICATION, lifetime=600)
    application = Application(keycloak, broker, name, device.name)
    with application.living(), device.living():
        until("the device is subscribed", device.subscribed.is_set, 60)
        with keycloak.away():
            deadline = time.monotonic() + 120
            while not device.ends or device.client.is_connected():
                assert time.monotonic() < deadline
                device.publish()
                time.sleep(0.02)
            for _ in range(10):
                device.publish()
        sent = set(range(device.sent))
        until("all is there", lambda: set(application.came) >= sent, 120)
    assert set(device.connects) == {0}
    assert device.refused == []
    assert rejected(broker, position) == []

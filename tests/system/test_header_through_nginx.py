# SPDX-License-Identifier: Apache-2.0
"""A token in the header of a WebSocket, enforced by a real nginx as examples/nginx has it."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from keyfob.cli.server_database import server_database
from keyfob.device import TokenSource
from keyfob.device.paho import Session, attach
from keyfob.server.register import Register
from keyfob.server.wishes import DeviceWish
from tests.free_ports import free_port
from tests.nginx import adapted, nginx
from tests.running import MOSQUITTO, Installation, until

EXAMPLE = Path(__file__).parents[2] / "examples/nginx/mqtt-header.conf"
RENEWALS = 2


@dataclass
class Front:
    """An nginx, and the headers that the handshakes brought which are over."""

    port: int
    log: Path

    def shown(self) -> list[str]:
        return self.log.read_text().split("\n")[:-1]


@contextlib.contextmanager
def mosquitto(folder: Path, port: int) -> Iterator[None]:
    """A broker that lets everybody in, by WebSocket, from this machine."""
    program = shutil.which(MOSQUITTO, path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        # Mosquitto 2.0.11 does not start with a listener for WebSockets alone.
        f"allow_anonymous true\nuser root\nlistener {free_port()} 127.0.0.1\n"
        f"listener {port} 127.0.0.1\nprotocol websockets\n"
    )
    process = subprocess.Popen([program, "-c", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        until("it listens", lambda: process.poll() is None and listens(port))
        yield
    finally:
        process.terminate()
        process.wait(20)


def listens(port: int) -> bool:
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


@pytest.fixture(scope="module")
def front(running: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("nginx")
    with Register.open(server_database(running.settings)) as register:
        _, secret = register.add_service("mqtt-front", scopes=["keyfob.introspection"])
    basic = base64.b64encode(f"mqtt-front:{secret}".encode()).decode()
    port, broker, refused = free_port(), free_port(), free_port()
    changes = {
        "/etc/nginx/keyfob/": f"{running.directory}/",
        "listen 8084 ssl": f"listen 127.0.0.1:{port} ssl",
        "127.0.0.1:9001": f"127.0.0.1:{broker}",
        "127.0.0.1:9002": f"127.0.0.1:{refused}",
        "127.0.0.1:8443": f"127.0.0.1:{running.settings.server.port}",
        "bXF0dC1mcm9udDpTRUNSRVQ=": basic,
        "location = /mqtt {": f"location = /mqtt {{ access_log {folder}/shown told;",
    }
    text = "log_format told '$http_authorization';\n" + adapted(EXAMPLE, changes)
    with mosquitto(folder, broker), nginx(folder, port, text):
        yield Front(port, folder / "shown")


def handshake(running: Installation, front: Front, *headers: str) -> int:
    """Open a WebSocket by hand; the HTTP status."""
    context = ssl.create_default_context(cafile=running.ca)
    lines = [
        "GET /mqtt HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: mqtt", *headers, "", "",
    ]  # fmt: skip
    with (
        socket.create_connection(("127.0.0.1", front.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall("\r\n".join(lines).encode())
        return int(connection.recv(4096).split(b" ")[1])


def test_only_a_good_token_opens_the_websocket(running: Installation, front: Front) -> None:
    token = running.enrol("header1", publish=("x",))
    assert handshake(running, front, f"Authorization: Bearer {token}") == 101
    assert handshake(running, front, f"authorization: bearer {token}") == 101
    bad = [token[:-4] + "AAAA", "", "a b", "a&token=b", "x" * 4000]
    for shown in (f"Authorization: Bearer {text}" for text in bad):
        assert handshake(running, front, shown) == 401, shown[:40]
    assert handshake(running, front) == 401
    assert handshake(running, front, f"Authorization: Basic {token}") == 401
    running.disable("header1")
    assert handshake(running, front, f"Authorization: Bearer {token}") == 401


def test_a_client_shows_the_next_token_in_the_next_handshake_and_loses_nothing(
    running: Installation, front: Front
) -> None:
    with Register.open(server_database(running.settings)) as register:
        secret = register.add_device(DeviceWish("header2")).secret
    source = TokenSource(
        f"https://localhost:{running.settings.server.port}",
        client_id="header2", client_secret=secret, ca=running.ca,
    )  # fmt: skip
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id="header2", protocol=mqtt.MQTTv5,
        transport="websockets",
    )  # fmt: skip
    client.tls_set(running.ca)
    client.ws_set_options("/mqtt", {"X-Own": "1"})
    client.will_set("d/header2", b"-1", qos=1)
    session = attach(client, source, carry="header")
    assert isinstance(session, Session)
    came: list[int] = []
    subscribed = threading.Event()
    client.on_message = lambda _c, _u, message: came.append(int(message.payload))
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_connect = lambda c, *_: c.subscribe("d/header2", 1)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 60
    client.connect("localhost", front.port, 30, clean_start=False, properties=properties)
    client.loop_start()
    shown: list[Any] = []
    sent = 0
    try:
        until("it has subscribed", subscribed.is_set)
        for _ in range(RENEWALS):
            shown.append(session.token)
            session.refresh()
            while session.token in shown or not session.connected:
                client.publish("d/header2", str(sent), qos=1)
                sent += 1
                threading.Event().wait(0.005)
        shown.append(session.token)
        until("all has come", lambda: set(came) >= set(range(sent)))
    finally:
        client.disconnect()
        client.loop_stop()
    assert -1 not in came, "its will"
    headers = [f"Bearer {token.access_token}" for token in shown]
    until("nginx has told of each", lambda: front.shown()[-len(headers) :] == headers)


# paho forgets the socket of a handshake that fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_client_whose_token_is_refused_at_the_handshake_tries_again_and_learns_nothing_wrong(
    running: Installation, front: Front
) -> None:
    """A 401 is no CONNACK: the token is not renewed for it, and the client is not ended by it."""
    with Register.open(server_database(running.settings)) as register:
        secret = register.add_device(DeviceWish("header3")).secret
    source = TokenSource(
        f"https://localhost:{running.settings.server.port}",
        client_id="header3", client_secret=secret, ca=running.ca,
    )  # fmt: skip
    first = source.get()
    running.disable("header3")
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id="header3", protocol=mqtt.MQTTv5,
        transport="websockets",
    )  # fmt: skip
    client.tls_set(running.ca)
    client.ws_set_options("/mqtt")
    attach(client, source, carry="header", chance=lambda: 0.01)
    failed: list[int] = []
    client.on_connect_fail = lambda *_: failed.append(1)
    client.connect_async("localhost", front.port)
    client.loop_start()
    try:
        until("it has tried again and again", lambda: len(failed) > 2)
        assert source.token == first
    finally:
        client.disconnect()
        client.loop_stop()
        client._reset_sockets()

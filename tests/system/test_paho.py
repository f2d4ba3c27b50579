# SPDX-License-Identifier: Apache-2.0
"""paho clients with `attach`, of every version, in every loop: renewals cost nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from keyfob.cli.server_database import server_database
from keyfob.device import TokenSource, paho_session
from keyfob.device.paho import Session, attach
from keyfob.server.register import Register
from keyfob.server.wishes import DeviceWish, Rights
from tests.running import PATIENCE, Installation, until
from tests.soak.cable import cable

ROOT = Path(__file__).parents[2]
LIFE = ROOT / "tests/device/paho_life.py"
VERSIONS = ("2.0.0", "2.1.0", "2.2.0")
RENEWALS = 3


def paho(version: str) -> Path:
    """A folder with that paho; the test is skipped, loudly, where it cannot be had."""
    folder = ROOT / ".cache/paho" / version
    if not (folder / "paho").is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target"]
        made = subprocess.run(
            [*command, str(folder), f"paho-mqtt=={version}"],
            capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip
        if made.returncode != 0:
            pytest.skip(
                f"NOT TESTED with paho {version}, which cannot be had: {made.stderr[-300:]}"
            )
    return folder


def enrol(running: Installation, device: str) -> str:
    with Register.open(server_database(running.settings)) as register:
        rights = Rights(publish=("d/{device}/#",), subscribe=("d/{device}/#",))
        return register.add_device(DeviceWish(device, rights=rights)).secret


def live(
    running: Installation, device: str, path: Path, *, tls: bool = False, **wish: Any
) -> dict[str, Any]:
    settings = running.settings
    wished = {
        "device": device,
        "secret": enrol(running, device),
        "issuer": f"https://localhost:{settings.server.port}",
        "ca": running.ca,
        "port": settings.mosquitto.port if tls else settings.mosquitto.plain_port,
        "tls": tls,
        "v5": True,
        "loop": "start",
        "renewals": RENEWALS,
        **wish,
    }
    done = subprocess.run(
        [sys.executable, str(LIFE), json.dumps(wished)],
        env=os.environ | {"PYTHONPATH": f"{path}{os.pathsep}{ROOT}"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def unharmed(lived: dict[str, Any]) -> None:
    assert lived["lost"] == []
    assert lived["wills"] == 0
    assert lived["ended"], "its loop goes on after disconnect()"
    assert lived["settings"] == [None, None], "a token is left in the client"
    assert lived["shadowed"] == []


@pytest.mark.parametrize("version", VERSIONS)
def test_every_paho_reauthenticates_on_the_live_connection(
    running: Installation, version: str
) -> None:
    device = f"re-{version.replace('.', '')}"
    lived = live(running, device, paho(version), carry="auth:OAUTH2-JWT", renew="auto")
    assert lived["paho"] == version
    unharmed(lived)
    assert lived["happened"] == ["pre_connect", "connect 0", "disconnect 0"]
    assert lived["twice"] == 0
    # The audit's last line may come a little later than what it is about.
    renewed = ("reauthenticated", "")
    until("each renewal is told", lambda: running.told(device).count(renewed) >= RENEWALS)
    assert running.told(device).count(renewed) == RENEWALS


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("loop", "v5", "tls"),
    [("start", True, True), ("forever", False, False), ("by hand", True, False)],
    ids=["loop_start-TLS", "loop_forever-3.1.1", "loop"],
)
def test_every_paho_in_every_loop_reconnects_as_planned(
    running: Installation, version: str, loop: str, v5: bool, tls: bool
) -> None:
    device = f"again-{version.replace('.', '')}-{loop[0]}"
    lived = live(
        running, device, paho(version),
        carry="password", renew="auto", loop=loop, v5=v5, tls=tls,
    )  # fmt: skip
    unharmed(lived)
    around = ["pre_connect", "connect 0", "disconnect 0"]
    happened = lived["happened"]
    if happened[-2:] == ["disconnect 0"] * 2:  # of its own end paho may tell in both its threads
        happened = happened[:-1]
    assert happened == around * (RENEWALS + 1)


def test_no_will_fires_where_what_waits_to_be_sent_takes_longer_than_a_dead_broker_is_given(
    running: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it gets on: paho's queue, the system's own and the way itself are all full."""
    monkeypatch.setattr(paho_session, "DRAIN", 0.0)  # nothing is waited for before DISCONNECT
    device, came, subscribed = "slow", list[bytes](), threading.Event()
    topic, settings = f"d/{device}", running.settings
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2, client_id=device, protocol=mqtt.MQTTv311, clean_session=False
    )
    client.will_set(f"{topic}/will", b"will", qos=1)
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = lambda _c, _u, message: came.append(bytes(message.payload[:4]))

    @client.connect_callback()
    def connected(*_: Any) -> None:
        client.subscribe(f"{topic}/#", 1)

    @client.socket_open_callback()
    def opened(_client: Any, _userdata: Any, sock: Any) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)

    source = TokenSource(
        f"https://localhost:{settings.server.port}",
        client_id=device, client_secret=enrol(running, device), ca=running.ca,
    )  # fmt: skip
    session = attach(client, source)
    assert isinstance(session, Session)
    with cable(settings.mosquitto.plain_port, rate=50_000) as between:
        client.connect("127.0.0.1", between.port)
        client.loop_start()
        until("it listens", subscribed.is_set)
        sent = [b"%04d" % number for number in range(12)]
        for each in sent:
            client.publish(f"{topic}/x", each + bytes(20_000), qos=1)
        second = session.refresh().result(PATIENCE)
        until("it has come again", lambda: session.token == second and session.connected)
        client.publish(f"{topic}/x", b"last", qos=1)
        until("all has come", lambda: b"last" in came)
        client.disconnect()
        client.loop_stop()
        client._reset_sockets()
    session.close()
    assert set(came) == {*sent, b"last"}

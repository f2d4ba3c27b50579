# SPDX-License-Identifier: Apache-2.0
"""A paho client that lives through renewals, as a program: for every paho that is to be tested.

Prints what happened to it, as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from importlib.metadata import version
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from keyfob.device import TokenSource
from keyfob.device.paho import Session, attach

PATIENCE = 20.0


def live(wish: dict[str, Any]) -> dict[str, Any]:
    """Connect, publish to oneself through renewals, and disconnect."""
    happened: list[str] = []
    came: list[int] = []
    name, v5 = wish["device"], wish["v5"]
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=name,
        protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311,
        clean_session=None if v5 else False,
    )
    if wish["tls"]:
        client.tls_set(wish["ca"])
    client.will_set(f"d/{name}/will", b"-1", qos=1)
    client.on_pre_connect = lambda *_: happened.append("pre_connect")
    source = TokenSource(
        wish["issuer"], client_id=name, client_secret=wish["secret"], ca=wish["ca"]
    )
    session = attach(client, source, carry=wish["carry"], renew=wish["renew"])
    assert isinstance(session, Session)

    @client.connect_callback()  # after attach, as a decorator
    def connected(_c: Any, _u: Any, flags: Any, code: Any, _p: Any) -> None:
        happened.append(f"connect {code.value}")
        if not flags.session_present:
            client.subscribe(f"d/{name}/#", 1)

    subscribed = threading.Event()
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_disconnect = lambda _c, _u, _f, code, _p: happened.append(f"disconnect {code.value}")
    client.on_message = lambda _c, _u, message: came.append(int(message.payload))
    connect(client, wish["port"], v5=v5)
    ended = run_loop(client, wish["loop"])
    wait(subscribed.is_set)
    sent = 0
    for _ in range(wish["renewals"]):
        before = session.token
        session.refresh()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and (session.token == before or not session.connected):
            client.publish(f"d/{name}/x", str(sent), qos=1 + sent % 2)
            sent += 1
            time.sleep(0.005)
    wait(lambda: set(came) >= set(range(sent)))
    settings = client.username, client.password
    client.disconnect()
    ended.wait(PATIENCE)
    session.close()
    shadowed = [key for key in vars(client) if key in {"_send_connect", "loop_misc", "disconnect"}]
    return {
        "paho": version("paho-mqtt"),
        "happened": happened,
        "lost": sorted(set(range(sent)) - set(came)),
        "twice": len(came) - len(set(came)),
        "wills": came.count(-1),
        "sent": sent,
        "ended": ended.is_set(),
        "settings": settings,
        "shadowed": shadowed,
    }


def connect(client: mqtt.Client, port: int, *, v5: bool) -> None:
    """Connect with a session that outlives its connections."""
    if not v5:
        client.connect("localhost", port, 30)
        return
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 60
    client.connect("localhost", port, 30, clean_start=False, properties=properties)


def run_loop(client: mqtt.Client, how: str) -> threading.Event:
    """Run the client's loop in one of paho's ways; the event is set when it has ended."""
    ended = threading.Event()

    def forever() -> None:
        client.loop_forever()
        ended.set()

    def by_hand() -> None:
        while client.loop(0.1) == mqtt.MQTT_ERR_SUCCESS:
            pass
        ended.set()

    def thread_of_paho() -> None:
        client._thread.join()  # type: ignore[union-attr]
        ended.set()

    if how == "start":
        client.loop_start()
        threading.Thread(target=thread_of_paho).start()
    else:
        threading.Thread(target=forever if how == "forever" else by_hand).start()
    return ended


def wait(condition: Any) -> None:
    """Wait until something holds, or for long."""
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


if __name__ == "__main__":
    print(json.dumps(live(json.loads(sys.argv[1]))))

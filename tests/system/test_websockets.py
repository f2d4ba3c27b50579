# SPDX-License-Identifier: Apache-2.0
"""MQTT over WebSockets over TLS, as browsers speak it, at the managed Mosquitto."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.cli.commands import Shell
from tests.free_ports import free_port
from tests.running import PATIENCE, Installation, installation
from tests.system.doctoring import Doctor


def connected(running: Installation, port: int, token: str) -> int:
    """Connect as ``web1`` with a token as the password; return the reason code."""
    answered, codes = threading.Event(), list[int]()
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id="web1",
        protocol=mqtt.MQTTv5,
        transport="websockets",
        reconnect_on_failure=False,
    )

    def on_connect(*arguments: object) -> None:
        codes.append(arguments[3].value)  # type: ignore[attr-defined]
        answered.set()

    client.on_connect = on_connect
    client.username_pw_set("web1", token)
    client.tls_set(running.ca)
    client.connect("localhost", port)
    client.loop_start()
    try:
        assert answered.wait(PATIENCE)
        if codes == [0]:
            client.publish("devices/web1/x", b"1", qos=1).wait_for_publish(PATIENCE)
        return codes[0]
    finally:
        client.disconnect()
        client.loop_stop()


def test_a_browsers_way_in_takes_good_tokens_and_no_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    lines = [f"websockets_port = {port}"]
    with installation(tmp_path / "data", mosquitto=lines) as running:
        token = running.device_token("web1", "--publish", "devices/web1/#")
        assert connected(running, port, token) == 0
        assert connected(running, port, token[:-4] + "AAAA") == 0x87
        doctor = Doctor(Shell(capsys, running.directory), monkeypatch, running)
        doctor.device("web2")
        the_ways_over_websockets_are_told(doctor, port)
        a_guard_that_does_not_answer_is_told(doctor)


def the_ways_over_websockets_are_told(doctor: Doctor, port: int) -> None:
    told = doctor.says("--client-id", "web2", "--broker", f"wss://localhost:{port}/mqtt")
    assert told["broker"]["ways"]["password"] == "taken"
    # Mosquitto shows a plugin no header: who has nothing else to show is nobody.
    assert told["broker"]["ways"]["header"].startswith("refused 0x8")
    assert told["broker"]["reauthenticates"] == "by OAUTH2-JWT"


def a_guard_that_does_not_answer_is_told(doctor: Doctor) -> None:
    guard = doctor.up.kill("guard", signal.SIGSTOP)
    try:
        told = doctor.says("--client-id", "web2", "--timeout", "1", code=1)
        assert "broker_unavailable" in {finding["code"] for finding in told["findings"]}
    finally:
        os.kill(guard, signal.SIGCONT)

# SPDX-License-Identifier: Apache-2.0
"""From curl to an enforced publish, with the commands that the field's tutorials print."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import paho.mqtt.client as mqtt

from tests.running import Installation, until


def test_curl_gets_a_token_with_the_fields_own_command(running: Installation) -> None:
    secret = running.add_device("curl1", "--publish", "devices/{device}/#")
    command = (
        f"curl --cacert {running.ca} -X POST {running.token_url}"
        ' -H "Content-Type: application/x-www-form-urlencoded"'
        f' -d "grant_type=client_credentials" -d "client_id=curl1" -d "client_secret={secret}"'
    )
    result = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=30, check=True
    )
    answer = json.loads(result.stdout)
    assert set(answer) == {"access_token", "token_type", "expires_in", "scope"}
    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 3600
    assert answer["scope"].split() == ["mqtt.connect", "mqtt.publish:devices/curl1/#"]


def tutorial(running: Installation, access_token: str, **client_id: Any) -> list[int]:
    """The tutorial, unchanged but for host, port, CA and paho 2's callback version."""
    codes: list[int] = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, **client_id)  # type: ignore[attr-defined]
    client.on_connect = lambda _c, _u, _f, reason, _p: codes.append(reason.value)
    client.username_pw_set(username=access_token, password="")
    client.tls_set(running.ca)
    client.connect("localhost", running.port, 60)
    client.loop_start()
    try:
        until("CONNACK", lambda: codes)
        info = client.publish("devices/tutorial/temperature", "21.5", qos=1)
        info.wait_for_publish(10)
        assert info.is_published()
    finally:
        client.disconnect()
        client.loop_stop()
    return codes


def test_the_fields_tutorial_runs_with_and_without_a_client_identifier(
    running: Installation,
) -> None:
    token = running.device_token("tutorial", "--publish", "devices/{device}/#")
    assert tutorial(running, token) == [0]
    assert tutorial(running, token, client_id="tutorial") == [0]


def test_the_same_token_works_in_the_password_of_mosquitto_pub(running: Installation) -> None:
    token = running.device_token("dev1", "--publish", "devices/dev1/#")
    for version in ("mqttv5", "mqttv311"):
        result = running.mosquitto(
            "mosquitto_pub", "dev1", token, "-t", "devices/dev1/t", "-m", "1", "-q", "1",
            version=version,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert "failed" not in result.stderr


def test_two_devices_behind_one_application_get_their_own_tokens(running: Installation) -> None:
    result = running.cli("application", "add", "weather-app", "--public", "--json")
    assert result.returncode == 0, result.stderr
    mismatch = running.connack(0x85)
    for device in ("pw1", "pw2"):
        secret = running.add_device(device, "--publish", "devices/{device}/#")
        answer = running.curl(
            {
                "grant_type": "password",
                "client_id": "weather-app",
                "username": device,
                "password": secret,
            }
        )
        client = running.client(device).connect(answer["access_token"])
        assert client.publish(f"devices/{device}/t") in (0, 0x10)
        other = "pw2" if device == "pw1" else "pw1"
        assert client.publish(f"devices/{other}/t") == 0x87
        assert running.client(other).try_connect("x", answer["access_token"]) == mismatch


def test_the_brokers_log_shows_the_principal_and_never_a_token(running: Installation) -> None:
    token = running.device_token("quiet", "--publish", "devices/{device}/#")
    client = running.client("quiet")
    assert client.try_connect(token, "") == 0
    until("the broker's log line", lambda: "u'quiet'" in running.log())
    log = running.log()
    audit = (running.settings.directory / "log/audit.jsonl").read_text(encoding="utf-8")
    for part in token.split("."):
        assert part not in log
        assert part not in audit
    for database in running.directory.rglob("*.db*"):
        assert token.rsplit(".", 1)[1].encode() not in database.read_bytes()

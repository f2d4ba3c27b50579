# SPDX-License-Identifier: Apache-2.0
"""Real tokens of other projects' authorization servers, at a real broker with real clients."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.interop.foreign.server import ForeignServer
from tests.running import NOT_AUTHORIZED, Installation, reasons, until

pytestmark = pytest.mark.interop

GRANTED_QOS_1, FAILURE_311 = 1, 0x80
CLIENT_IDENTIFIER_NOT_VALID = 0x85
DELIVERED = (0, 0x10)  # to somebody, to nobody
VERSIONS = pytest.mark.parametrize("v5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
Fresh = Callable[[str], str]


def added(foreign: ForeignServer, fresh: Fresh, kind: Any) -> str:
    device = fresh(kind)
    foreign.add(kind, device)
    return device


def refused(up: Installation, device: str, token: str, reason: str) -> None:
    """The client is told what its broker can tell, the operator is told why."""
    position = len(up.log())
    code = NOT_AUTHORIZED if reason != "client_id_mismatch" else CLIENT_IDENTIFIER_NOT_VALID
    assert up.client(device).try_connect(device, token) == up.connack(code)
    until(f"{reason} in the output", lambda: reason in reasons(up.log()[position:]))


def changed(token: str, **claims: object) -> str:
    """The token with other claims, under the signature that it had."""
    head, body, signature = token.split(".")
    values = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))) | claims
    forged = base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")
    return f"{head}.{forged}.{signature}"


@VERSIONS
def test_a_foreign_token_opens_its_topics_and_no_others(
    trusting: Installation, foreign: ForeignServer, fresh: Fresh, v5: bool
) -> None:
    """Keycloak says what they are by roles, oidc-provider by scopes."""
    sensor, dashboard = (added(foreign, fresh, kind) for kind in ("sensor", "dashboard"))
    reader = trusting.client(dashboard, v5=v5).connect(foreign.token(dashboard))
    no = NOT_AUTHORIZED if v5 else FAILURE_311
    assert reader.subscribe("devices/+/temperature") == GRANTED_QOS_1
    assert reader.subscribe("devices/#") == no
    assert reader.subscribe(f"commands/{sensor}/#") == no
    client = trusting.client(sensor, v5=v5).connect(foreign.token(sensor))
    assert client.subscribe(f"commands/{sensor}/#") == GRANTED_QOS_1
    assert client.subscribe("devices/+/temperature") == no
    # MQTT 3.1.1 has no way to say no: the message is acknowledged and dropped.
    stray = client.publish("devices/another/temperature", "stray")
    assert stray == (NOT_AUTHORIZED if v5 else 0)
    assert client.publish(f"devices/{sensor}/temperature", "21") == 0
    reader.until_message(f"devices/{sensor}/temperature", "21")
    reader.close()
    assert [payload for _, payload in reader.messages] == [b"21"]


def test_mosquittos_own_clients_come_in_with_a_foreign_token(
    trusting: Installation, foreign: ForeignServer, fresh: Fresh
) -> None:
    sensor, dashboard = (added(foreign, fresh, kind) for kind in ("sensor", "dashboard"))
    reader = trusting.client(dashboard).connect(foreign.token(dashboard))
    reader.subscribe("devices/+/temperature")
    topic, token = f"devices/{sensor}/temperature", foreign.token(sensor)
    for version in ("mqttv5", "mqttv311"):
        said = ["-q", "1", "-t", topic, "-m", version]
        sent = trusting.mosquitto("mosquitto_pub", sensor, token, *said, version=version)
        assert sent.returncode == 0, sent.stderr
        reader.until_message(topic, version)
    refused_one = trusting.mosquitto(
        "mosquitto_pub", sensor, changed(token), "-t", topic, "-m", "x"
    )
    assert refused_one.returncode != 0


def test_what_a_foreign_server_signs_for_another_use_is_refused(
    trusting: Installation, foreign: ForeignServer, fresh: Fresh
) -> None:
    billing = fresh("billing")
    refused(trusting, billing, foreign.token_for_another_audience(billing), "audience_mismatch")
    # Right issuer, key, audience, times and device: only what it is for is wrong.
    id_token, device = foreign.id_token()
    refused(trusting, device, id_token, foreign.id_token_refused)


def test_a_foreign_token_that_was_tampered_with_is_refused(
    trusting: Installation, foreign: ForeignServer, fresh: Fresh
) -> None:
    device = added(foreign, fresh, "sensor")
    token = foreign.token(device)
    head, body, signature = token.split(".")
    flipped = ("B" if signature[10] != "B" else "C").join((signature[:10], signature[11:]))
    refused(trusting, device, f"{head}.{body}.{flipped}", "signature_invalid")
    for claims in ({"sub": "admin", "azp": "admin"}, {"exp": int(time.time()) + 86_400}):
        refused(trusting, device, changed(token, **claims), "signature_invalid")
    trusting.client(device).connect(token)


def test_a_foreign_token_is_good_for_its_own_device_only(
    trusting: Installation, foreign: ForeignServer, fresh: Fresh
) -> None:
    device, other = (added(foreign, fresh, "sensor") for _ in range(2))
    refused(trusting, other, foreign.token(device), "client_id_mismatch")


def test_a_foreign_tokens_end_is_the_connections_end(
    trusting: Installation, foreign: ForeignServer, fresh: Fresh
) -> None:
    device = fresh("short")
    token = foreign.short_lived(device)
    client = trusting.client(device).connect(token)
    client.until_disconnected()
    refused(trusting, device, token, "token_expired")


def test_a_device_has_nothing_of_another_servers_device_of_the_same_name(
    trusting: Installation, foreign: ForeignServer, fresh: Fresh
) -> None:
    """Whoever is called so by one trusted server is somebody else than whom another calls so."""
    device = added(foreign, fresh, "sensor")
    own = trusting.client(device)
    own.connect(trusting.device_token(device, "--publish", "own/{device}/#"))
    assert own.publish(f"own/{device}/t") in DELIVERED
    assert own.publish(f"devices/{device}/t") == NOT_AUTHORIZED
    refused(trusting, device, foreign.token(device), "session_owned_by_another")
    assert own.publish(f"own/{device}/t") in DELIVERED


def test_explain_tells_what_a_foreign_token_opens(
    trusting: Installation, foreign: ForeignServer, fresh: Fresh
) -> None:
    device = added(foreign, fresh, "sensor")
    for topic, code in ((f"devices/{device}/t", 0), ("devices/another/t", 1)):
        told = trusting.cli(
            "explain", "--json", "--token", "-", "--client-id", device, "publish", topic,
            stdin=foreign.token(device),
        )  # fmt: skip
        assert told.returncode == code, told.stdout + told.stderr
        assert json.loads(told.stdout)["allowed"] is (code == 0)

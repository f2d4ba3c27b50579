# SPDX-License-Identifier: Apache-2.0
"""Grants up to the broker: what a token was narrowed to is what Mosquitto enforces."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from keyfob.tokens.sign import SigningKey
from tests.running import Installation, installation
from tests.server.assertions import jwks_of, signed
from tests.server.granting import ACCESS_TOKEN, JWT_BEARER, TOKEN_EXCHANGE

HERE, ELSEWHERE = "mqtts://here.example", "mqtts://elsewhere.example"
CLOUD = "https://cloud.example"
KEY = SigningKey.generate()
REFUSED = 0x87
# The second one is as Kubernetes names its workloads.
SECTIONS = f"""
[[server.trusted_issuer]]
name = "cluster"
issuer = "{CLOUD}"
jwks_file = "cluster-keys.json"
devices = ["pod-*"]
device_prefix = "system:serviceaccount:fleet:"
single_use = false
without_client = true
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    directory = tmp_path_factory.mktemp("grants") / "data"

    def configure(folder: Path) -> None:
        (folder / "cluster-keys.json").write_bytes(jwks_of(KEY))
        path = folder / "keyfob.toml"
        at = f'[issuer.authorization_details]\nlocations = ["{HERE}"]\n\n[mosquitto]\n'
        text = path.read_text(encoding="utf-8").replace("[mosquitto]\n", at, 1)
        path.write_text(text, encoding="utf-8")

    with installation(directory, issuers=[SECTIONS], configured=configure) as made:
        yield made


@pytest.fixture(autouse=True)
def _nobody_stays(up: Installation) -> Iterator[None]:
    yield
    up.close_clients()


def detail(topic: str, **more: object) -> dict[str, object]:
    return {"type": "mqtt", "actions": ["publish"], "topics": [topic], **more}


def with_details(up: Installation, device: str, details: list[dict[str, object]]) -> str:
    secret = up.add_device(device, "--publish", "devices/{device}/#")
    answer = up.curl(
        {
            "grant_type": "client_credentials",
            "client_id": device,
            "client_secret": secret,
            "authorization_details": quote(json.dumps(details)),
        }
    )
    assert answer["authorization_details"] == details
    return str(answer["access_token"])


def test_the_broker_enforces_the_details_that_were_granted_and_no_more(up: Installation) -> None:
    token = with_details(up, "rar1", [detail("devices/rar1/t")])
    client = up.client("rar1").connect(token)
    assert client.publish("devices/rar1/t") in (0, 0x10)
    # The device is registered for it, and this token is not.
    assert client.publish("devices/rar1/other") == REFUSED


def test_details_for_another_broker_allow_nothing_at_this_one(up: Installation) -> None:
    details = [
        detail("devices/rar2/here", locations=[HERE]),
        detail("devices/rar2/there", locations=[ELSEWHERE]),
    ]
    client = up.client("rar2").connect(with_details(up, "rar2", details))
    assert client.publish("devices/rar2/here") in (0, 0x10)
    assert client.publish("devices/rar2/there") == REFUSED


def gateway(up: Installation) -> tuple[str, str]:
    """Register a gateway and a sub-device by the command line; return how it authenticates."""
    secret = up.add_device("gw", "--publish", "site/#")
    up.add_device("gw-lamp", "--publish", "site/{device}/#", "--subscribe", "site/{device}/cmd")
    done = up.cli("grant", "allow", "gw", "token-exchange", "--act-for", "gw-*", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["may_act_for"] == ["gw-*"]
    return "gw", secret


def test_a_gateway_connects_its_sub_device_and_both_end_together(up: Installation) -> None:
    name, secret = gateway(up)
    answer = up.curl(
        {
            "grant_type": TOKEN_EXCHANGE,
            "client_id": name,
            "client_secret": secret,
            "subject_token": up.token(name, secret),
            "subject_token_type": ACCESS_TOKEN,
            "requested_subject": "gw-lamp",
        }
    )
    client = up.client("gw-lamp").connect(answer["access_token"])
    assert client.publish("site/gw-lamp/state") in (0, 0x10)
    assert client.publish("site/other/state") == REFUSED
    # What the sub-device alone is registered for is not the gateway's to give.
    assert client.subscribe("site/gw-lamp/cmd") == REFUSED
    up.disable("gw")
    client.until_disconnected()
    assert up.client("gw-lamp").try_connect("gw-lamp", answer["access_token"]) == up.connack(
        REFUSED
    )


def test_a_workload_connects_with_what_its_cluster_says_of_it(up: Installation) -> None:
    up.add_device("pod-1", "--publish", "devices/{device}/#")
    assert up.cli("grant", "allow", "pod-1", "jwt-bearer").returncode == 0
    now = int(time.time())
    assertion = signed(
        KEY,
        {
            "iss": CLOUD,
            "sub": "system:serviceaccount:fleet:pod-1",
            "aud": [up.settings.server.issuer],
            "iat": now,
            "exp": now + 600,
        },
    )
    answer = up.curl({"grant_type": JWT_BEARER, "assertion": assertion})
    client = up.client("pod-1").connect(answer["access_token"])
    assert client.publish("devices/pod-1/t") in (0, 0x10)

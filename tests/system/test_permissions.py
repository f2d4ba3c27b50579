# SPDX-License-Identifier: Apache-2.0
"""A token opens the topics that it names, and nothing else, on a real broker."""

from __future__ import annotations

import json

import pytest

from tests.running import Installation

NOT_AUTHORIZED = 0x87
GRANTED_QOS_1 = 1
FAILURE_311 = 0x80


def test_a_publish_outside_the_permissions_is_refused_and_not_delivered(
    running: Installation,
) -> None:
    token = running.device_token("pub5", "--publish", "devices/{device}/#")
    watcher = running.client("watch").connect(running.device_token("watch", "--subscribe", "#"))
    assert watcher.subscribe("#") == GRANTED_QOS_1
    client = running.client("pub5").connect(token)
    assert client.publish("devices/other/t", "stray") == NOT_AUTHORIZED
    assert client.publish("devices/pub5x", "stray") == NOT_AUTHORIZED
    assert client.publish("devices/pub5/t", "mine") in (0, 0x10)
    watcher.until_message("devices/pub5/t", "mine")
    assert b"stray" not in [payload for _, payload in watcher.messages]


def test_a_3_1_1_publish_outside_the_permissions_is_not_delivered(running: Installation) -> None:
    token = running.device_token("pub3", "--publish", "devices/{device}/#")
    watcher = running.client("watch3").connect(running.device_token("watch3", "--subscribe", "#"))
    watcher.subscribe("#")
    client = running.client("pub3", v5=False).connect(token)
    client.publish("devices/other3/t", "stray3")
    client.publish("devices/pub3/t", "mine3")
    watcher.until_message("devices/pub3/t", "mine3")
    assert b"stray3" not in [payload for _, payload in watcher.messages]


@pytest.mark.parametrize("v5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
def test_a_subscription_is_refused_unless_one_filter_contains_it(
    running: Installation, v5: bool
) -> None:
    device = f"sub{5 if v5 else 3}"
    token = running.device_token(
        device, "--subscribe", "a/+", "--subscribe", "b/#", "--subscribe", "$share/g/c/#"
    )
    client = running.client(device, v5=v5).connect(token)
    refused = NOT_AUTHORIZED if v5 else FAILURE_311
    for allowed in ("a/+", "a/x", "b/#", "b/+/x", "b", "$share/any/b/+", "$share/g/c/x"):
        assert client.subscribe(allowed) == GRANTED_QOS_1, allowed
    for forbidden in (
        "a/#",
        "a",
        "#",
        "+/x",
        "a/+/+",
        "$SYS/#",
        "$share/h/c/x",
        "c/#",
        "$share/g/#",
    ):
        assert client.subscribe(forbidden) == refused, forbidden


def test_everything_does_not_open_the_brokers_own_topics(running: Installation) -> None:
    token = running.device_token("all", "--subscribe", "#", "--publish", "#")
    client = running.client("all").connect(token)
    assert client.subscribe("#") == GRANTED_QOS_1
    assert client.subscribe("$SYS/#") == NOT_AUTHORIZED
    assert client.subscribe("$share/g/$SYS/#") == NOT_AUTHORIZED
    assert client.publish("$SYS/broker/uptime", "0") == NOT_AUTHORIZED


def test_deliveries_are_checked_as_well_retained_ones_included(running: Installation) -> None:
    publisher = running.client("ret").connect(running.device_token("ret", "--publish", "r/#"))
    publisher.publish("r/open", "seen", retain=True)
    publisher.publish("r/shut/x", "unseen", retain=True)
    reader = running.client("reader").connect(running.device_token("reader", "--subscribe", "r/+"))
    assert reader.subscribe("r/+") == GRANTED_QOS_1
    reader.until_message("r/open", "seen")
    publisher.publish("r/open", "live")
    reader.until_message("r/open", "live")
    assert b"unseen" not in [payload for _, payload in reader.messages]


def test_a_refused_client_never_disturbs_the_session_whose_identifier_it_claims(
    running: Installation,
) -> None:
    victim = running.client("victim", clean=False).connect(
        running.device_token("victim", "--subscribe", "v/#", "--publish", "v/#")
    )
    assert victim.subscribe("v/#") == GRANTED_QOS_1
    thief = running.device_token("thief", "--publish", "v/#")
    for clean in (True, False):
        for credentials in ((thief, ""), ("victim", thief), ("victim", "garbage"), (None, None)):
            assert running.client("victim", clean=clean).try_connect(*credentials) != 0
    victim.publish("v/1", "still here")
    victim.until_message("v/1", "still here")
    assert victim.disconnects == []
    victim.drop()
    assert running.client("victim", clean=True).try_connect("victim", thief) != 0
    publisher = running.client("pubv").connect(running.device_token("pubv", "--publish", "v/#"))
    publisher.publish("v/2", "owed")
    again = running.client("victim", clean=False)
    again.paho.on_message = victim.paho.on_message
    again.connect(running.token("victim", _secret(running, "victim")))
    assert again.session_present == [True]
    victim.until_message("v/2", "owed")


def _secret(running: Installation, device: str) -> str:
    result = running.cli("device", "rotate", device, "--json")
    secret: str = json.loads(result.stdout)["client_secret"]
    return secret

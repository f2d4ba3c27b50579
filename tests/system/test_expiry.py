# SPDX-License-Identifier: Apache-2.0
"""When a token ends, so does the connection, and nothing that is owed is lost."""

from __future__ import annotations

import time

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from keyfob.tokens.verify import unverified
from tests.running import Installation, until

ADMINISTRATIVE_ACTION = 0x98


def test_expiry_ends_the_connection_sends_the_will_and_keeps_what_is_owed(
    running: Installation,
) -> None:
    secret = running.add_device(
        "short", "--subscribe", "s/#", "--publish", "s/will", "--lifetime", "5"
    )
    watcher = running.client("swatch").connect(
        running.device_token("swatch", "--subscribe", "s/#", "--publish", "s/#")
    )
    watcher.subscribe("s/#")
    client = running.client("short", clean=False)
    client.paho.will_set("s/will", "gone", qos=1)
    token = running.token("short", secret)
    client.connect(token)
    assert client.subscribe("s/#") == 1

    assert client.until_disconnected() == ADMINISTRATIVE_ACTION
    watcher.until_message("s/will", "gone")
    assert running.client("short").try_connect("short", token) != 0, "the token has expired"

    watcher.publish("s/queued", "while away")
    again = running.client("short", clean=False).connect(running.token("short", secret))
    assert again.session_present == [True]
    again.until_message("s/queued", "while away")


def test_a_connection_ends_at_its_tokens_expiry_and_not_before(running: Installation) -> None:
    token = running.device_token("punctual", "--subscribe", "p/#", "--lifetime", "3")
    expires_at = unverified(token)[1]["exp"]
    client = running.client("punctual", v5=False).connect(token)
    client.subscribe("p/#")
    client.until_disconnected()
    assert time.time() >= expires_at


def test_an_expired_will_with_a_delay_is_sent(running: Installation) -> None:
    secret = running.add_device("delayed", "--publish", "d/will", "--lifetime", "3")
    watcher = running.client("dwatch").connect(running.device_token("dwatch", "--subscribe", "d/#"))
    watcher.subscribe("d/#")
    client = running.client("delayed", clean=False)
    properties = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
    properties.WillDelayInterval = 2
    client.paho.will_set("d/will", "later", qos=1, properties=properties)
    client.connect(running.token("delayed", secret))
    client.until_disconnected()
    watcher.until_message("d/will", "later")


def test_the_will_of_a_disabled_device_is_not_sent(running: Installation) -> None:
    watcher = running.client("wwatch").connect(
        running.device_token("wwatch", "--subscribe", "w/#", "--publish", "w/#")
    )
    watcher.subscribe("w/#")
    client = running.client("willful")
    client.paho.will_set("w/will", "gone", qos=1)
    client.connect(running.device_token("willful", "--publish", "w/will"))
    assert running.cli("device", "disable", "willful").returncode == 0
    client.until_disconnected()
    watcher.publish("w/after", "marker")
    watcher.until_message("w/after", "marker")
    time.sleep(0.3)
    assert [topic for topic, _ in watcher.messages] == ["w/after"]


def test_what_was_queued_for_a_disabled_device_is_not_delivered_later(
    running: Installation,
) -> None:
    secret = running.add_device("banned", "--subscribe", "q/#")
    publisher = running.client("qpub").connect(running.device_token("qpub", "--publish", "q/#"))
    client = running.client("banned", clean=False).connect(running.token("banned", secret))
    client.subscribe("q/#")
    assert running.cli("device", "disable", "banned").returncode == 0
    client.until_disconnected()
    publisher.publish("q/secret", "not for you")
    assert running.cli("device", "enable", "banned").returncode == 0
    again = running.client("banned", clean=False)

    def admitted() -> bool:
        return again.try_connect("banned", running.token("banned", secret)) == 0

    until("the enabled device is let in", admitted)
    again.subscribe("q/#")
    publisher.publish("q/open", "for you")
    again.until_message("q/open", "for you")
    assert b"not for you" not in [payload for _, payload in again.messages]


def test_what_was_queued_before_a_device_was_disabled_is_not_delivered_either(
    running: Installation,
) -> None:
    secret = running.add_device("lapsed", "--subscribe", "l/#")
    publisher = running.client("lpub").connect(running.device_token("lpub", "--publish", "l/#"))
    client = running.client("lapsed", clean=False).connect(running.token("lapsed", secret))
    client.subscribe("l/#")
    client.drop()
    publisher.publish("l/secret", "not for you")
    assert running.cli("device", "disable", "lapsed").returncode == 0
    until("the guard has heard of it", lambda: "ended lapsed" in running.log())
    assert running.cli("device", "enable", "lapsed").returncode == 0
    again = running.client("lapsed", clean=False).connect(running.token("lapsed", secret))
    again.subscribe("l/#")
    publisher.publish("l/open", "for you")
    again.until_message("l/open", "for you")
    assert b"not for you" not in [payload for _, payload in again.messages]

# SPDX-License-Identifier: Apache-2.0
"""The matrix: each Mosquitto by field of the token, transport and version of MQTT.

Every cell is a device of its own with a real token of the real server.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from keyfob.tokens.verify import unverified
from tests.interop.ways import WAYS, Device, Way, device
from tests.running import NOT_AUTHORIZED, Installation, until

pytestmark = pytest.mark.interop

GRANTED_QOS_1, FAILURE_311 = 1, 0x80
TAKEN = (0, 0x10)
"""PUBACK: somebody or nobody was subscribed."""


@pytest.fixture(params=WAYS, ids=lambda way: way.title)
def way(request: pytest.FixtureRequest) -> Way:
    """Each way in turn."""
    chosen: Way = request.param
    if chosen.impossible:
        pytest.skip(chosen.impossible)
    return chosen


def enrolled(running: Installation, name: str, *options: str) -> tuple[str, str]:
    """Register a device for ``m/NAME/#``; return its secret and a token."""
    secret = running.add_device(
        name, "--publish", "m/{device}/#", "--subscribe", "m/{device}/#", *options
    )
    return secret, running.token(name, secret)


def come_in(dev: Device, token: str) -> None:
    """Connect as a device does: again, where a question took longer than a broker can wait."""
    until("it is let in", lambda: dev.try_connect(token) == 0)


def test_connects_publishes_and_subscribes_as_allowed(
    running: Installation, way: Way, fresh: Callable[[str], str]
) -> None:
    name = fresh("allowed")
    _, token = enrolled(running, name)
    stranger = device(running, name, way)
    assert stranger.try_connect(token[:-8] + "AAAAAAAA") == running.connack(
        NOT_AUTHORIZED, v5=way.v5
    )
    dev = device(running, name, way)
    come_in(dev, token)
    assert dev.subscribe(f"m/{name}/#") == GRANTED_QOS_1
    assert dev.subscribe("m/#") == (NOT_AUTHORIZED if way.v5 else FAILURE_311)
    # MQTT 3.1.1 has no way to say no: the message is acknowledged and dropped.
    assert dev.publish("m/another/x", "stray") == (NOT_AUTHORIZED if way.v5 else 0)
    assert dev.publish(f"m/{name}/x", "mine") == 0
    dev.until_message(f"m/{name}/x", "mine")


def test_ends_with_its_token(running: Installation, way: Way, fresh: Callable[[str], str]) -> None:
    name = fresh("expires")
    _, token = enrolled(running, name, "--lifetime", "4")
    dev = device(running, name, way)
    come_in(dev, token)
    dev.until_disconnected()
    assert time.time() >= unverified(token)[1]["exp"], "it ended before its token did"
    until("refused", lambda: dev.try_connect(token) == running.connack(NOT_AUTHORIZED, v5=way.v5))


def test_renews_and_loses_nothing(
    running: Installation, way: Way, fresh: Callable[[str], str]
) -> None:
    """By re-authentication, or by the next connection of the same session."""
    name = fresh("renews")
    secret, token = enrolled(running, name, "--lifetime", "5")
    sender = fresh("sender")
    other = device(running, sender, Way("password", "TCP", True))
    come_in(other, running.device_token(sender, "--publish", "m/#"))
    dev = device(running, name, way)
    come_in(dev, token)
    assert dev.subscribe(f"m/{name}/#") == GRANTED_QOS_1
    for renewal in range(3):
        assert other.publish(f"m/{name}/x", str(renewal)) in TAKEN
        time.sleep(1.5)
        dev.renew(running.token(name, secret))
        dev.until_message(f"m/{name}/x", str(renewal))
    time.sleep(1.5)  # past the first token's end
    assert dev.publish(f"m/{name}/y", "still here") == 0
    dev.until_message(f"m/{name}/y", "still here")


def test_ends_when_it_is_revoked(
    running: Installation, way: Way, fresh: Callable[[str], str]
) -> None:
    name = fresh("revoked")
    _, token = enrolled(running, name)
    dev = device(running, name, way)
    come_in(dev, token)
    running.disable(name)
    dev.until_disconnected()
    until("refused", lambda: dev.try_connect(token) == running.connack(NOT_AUTHORIZED, v5=way.v5))

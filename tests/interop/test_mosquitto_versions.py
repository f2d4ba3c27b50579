# SPDX-License-Identifier: Apache-2.0
"""The whole system with each Mosquitto: the installed one and those of newer Debian suites.

The tests of tests/system run here once more, with each of them. Those written here are about what
must be the same in all versions, transports and fields, and about what each version can say.
"""

from __future__ import annotations

import os
import re
import signal

import pytest

from keyfob.tokens.sign import SigningKey
from tests.interop.mosquittos import version_of
from tests.running import NOT_AUTHORIZED, SERVER_UNAVAILABLE, Installation, until
from tests.system import test_expiry as expiry
from tests.system import test_main_line as main_line
from tests.system import test_permissions as permissions
from tests.system import test_refusals as refusals
from tests.system import test_restarts as restarts
from tests.system import test_sighup as sighup

pytestmark = pytest.mark.interop

CLIENT_IDENTIFIER_NOT_VALID, BAD_USERNAME_OR_PASSWORD = 0x85, 0x86
GRANTED_QOS_1, FAILURE_311 = 1, 0x80
VERSIONS = pytest.mark.parametrize("v5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])


def take_in(module: object) -> None:
    """Make another module's tests this one's, and the fixtures that it has for itself."""
    for name, value in vars(module).items():
        if name.startswith("test_") or (module is refusals and name in ("device", "key")):
            assert name not in globals(), f"two tests are called {name}"
            globals()[name] = value


for system in (main_line, permissions, refusals, expiry, restarts, sighup):
    take_in(system)


def test_it_says_that_it_runs_when_the_broker_does(running: Installation) -> None:
    log = running.log()
    version = re.escape(version_of(running.settings.mosquitto.program))
    broker = re.search(rf"mosquitto version {version} running$", log, re.MULTILINE)
    assert broker is not None
    assert broker.start() < log.index("running; Ctrl-C")


@VERSIONS
@pytest.mark.parametrize("tls", [True, False], ids=["TLS", "TCP"])
@pytest.mark.parametrize("field", ["username", "password"])
def test_a_token_opens_its_topics_and_no_others(
    running: Installation, field: str, tls: bool, v5: bool
) -> None:
    device = f"{field}{'tls' if tls else 'tcp'}{5 if v5 else 3}"
    token = running.device_token(
        device, "--publish", "own/{device}/#", "--subscribe", "own/{device}/+"
    )
    client = running.client(device, v5=v5, tls=tls)
    assert client.try_connect(*((token, "") if field == "username" else (device, token))) == 0
    assert client.subscribe(f"own/{device}/+") == GRANTED_QOS_1
    assert client.subscribe(f"own/{device}/#") == (NOT_AUTHORIZED if v5 else FAILURE_311)
    # MQTT 3.1.1 has no way to say no: the message is acknowledged and dropped.
    assert client.publish("own/another/t", "stray") == (NOT_AUTHORIZED if v5 else 0)
    assert client.publish(f"own/{device}/t", "mine") == 0
    client.until_message(f"own/{device}/t", "mine")


@VERSIONS
def test_a_refused_client_is_told_as_much_as_its_broker_can_tell(
    running: Installation, key: SigningKey, device: str, v5: bool
) -> None:
    good = key.sign(refusals.claims(running))
    expired = key.sign(refusals.claims(running, iat=1_000_000_000, exp=1_000_000_600))
    foreign = key.sign(refusals.claims(running, aud="another"))
    told = [
        (device, (None, None), BAD_USERNAME_OR_PASSWORD),
        (device, (device, "garbage"), BAD_USERNAME_OR_PASSWORD),
        (device, ("garbage", ""), BAD_USERNAME_OR_PASSWORD),
        (device, (good, good), BAD_USERNAME_OR_PASSWORD),
        (device, (device, expired), NOT_AUTHORIZED),
        (device, (device, foreign), NOT_AUTHORIZED),
        ("another", (device, good), CLIENT_IDENTIFIER_NOT_VALID),
    ]
    for client_id, credentials, reason_code in told:
        answer = running.client(client_id, v5=v5).try_connect(*credentials)
        assert answer == running.connack(reason_code, v5=v5), (client_id, hex(reason_code))


@VERSIONS
def test_a_guard_that_is_away_does_not_look_like_a_bad_token(
    breakable: Installation, v5: bool
) -> None:
    device = f"orphan{5 if v5 else 3}"
    token = breakable.device_token(device, "--publish", "own/{device}/#")
    client = breakable.client(device, v5=v5)
    guard = breakable.kill("guard", signal.SIGSTOP)
    try:
        unavailable = breakable.connack(SERVER_UNAVAILABLE, v5=v5)
        assert client.try_connect(device, token) == unavailable
    finally:
        os.kill(guard, signal.SIGCONT)
    until("it is let in again", lambda: client.try_connect(device, token) == 0)

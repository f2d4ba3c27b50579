# SPDX-License-Identifier: Apache-2.0
"""Our server pushes revocations to our guard: by that alone connections end, and stay ended."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.running import NOT_AUTHORIZED, Installation, until
from tests.system.pushed import pushed_installation, status

REVOKED = ("refused", "token_revoked")


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with pushed_installation(tmp_path_factory.mktemp("pushed") / "data") as up:
        yield up


def until_refused(up: Installation, device: str, token: str) -> None:
    """While a guard starts it may be unavailable; never is the token good."""

    def refused() -> bool:
        code = up.client(device).try_connect(device, token)
        assert code != 0
        return code == up.connack(NOT_AUTHORIZED)

    until("it is refused", refused)
    until("the audit tells why", lambda: REVOKED in up.told(device))


def revoked(up: Installation, device: str, secret: str, token: str) -> str:
    """Have a device revoke its token with curl; the status."""
    url = up.token_url.replace("/token", "/revoke")
    command = ["curl", "-sS", "--cacert", up.ca, "-u", f"{device}:{secret}", "-w", "%{http_code}"]
    command += ["--data-urlencode", f"token={token}", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


def until_told(up: Installation) -> None:
    until("all events are acknowledged", lambda: status(up).pending == 0)


def test_a_disabled_devices_connection_ends_by_a_push_and_its_token_stays_out(
    pushed: Installation,
) -> None:
    token = pushed.device_token("lost")
    client = pushed.client("lost").connect(token)
    assert pushed.cli("device", "disable", "lost").returncode == 0
    client.until_disconnected()
    until_refused(pushed, "lost", token)

    pushed.wait_restarted("guard", pushed.kill("guard"))
    until_refused(pushed, "lost", token)


def test_one_revoked_token_ends_its_own_connection_only(pushed: Installation) -> None:
    secret = pushed.add_device("two")
    first, second = pushed.token("two", secret), pushed.token("two", secret)
    client = pushed.client("two").connect(first)
    assert revoked(pushed, "two", secret, first) == "200"
    client.until_disconnected()
    until_refused(pushed, "two", first)
    pushed.client("two").connect(second)


def test_what_was_revoked_while_the_guard_was_dead_reaches_it_when_it_is_back(
    pushed: Installation,
) -> None:
    tokens = {f"away{number}": pushed.enrol(f"away{number}") for number in range(5)}
    until_told(pushed)
    old = pushed.kill("guard")
    for device in tokens:
        pushed.disable(device)
    pushed.wait_restarted("guard", old)
    until_told(pushed)
    for device, token in tokens.items():
        until_refused(pushed, device, token)


def test_what_was_revoked_when_the_server_was_killed_reaches_the_guard_from_the_next(
    pushed: Installation,
) -> None:
    token = pushed.enrol("crash")
    client = pushed.client("crash").connect(token)
    old = pushed.kill("server")
    pushed.disable("crash")
    pushed.wait_restarted("server", old)
    client.until_disconnected()
    until_refused(pushed, "crash", token)
    until_told(pushed)
    assert status(pushed).rejected == 0

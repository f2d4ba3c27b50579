# SPDX-License-Identifier: Apache-2.0
"""A revoked token is refused from then on: by this guard, when it was killed, and by another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.running import NOT_AUTHORIZED, Installation, installation, until

REVOKED = ("refused", "token_revoked")


def refused_as_revoked(up: Installation, device: str, token: str) -> None:
    """Not once is it let in, or told anything but that it is not authorized."""
    client = up.client(device)
    assert client.try_connect(device, token) == up.connack(NOT_AUTHORIZED)
    until("the audit tells why", lambda: REVOKED in up.told(device))
    assert ("allowed", "") not in up.told(device)[up.told(device).index(REVOKED) :]


def second_guard(first: Installation) -> str:
    """An issuer for another installation: the first one's server."""
    return f"""
[[issuer]]
name = "first"
issuer = "{first.settings.server.issuer}"
audience = ["mqtt"]
ca = {json.dumps(first.ca)}
revocation_client = "keyfob-guard"
revocation_secret = "file:{first.directory}/guard.secret"
"""


def test_a_disabled_device_is_out_here_after_a_kill_and_at_a_second_guard(
    trusting: Installation, tmp_path: Path
) -> None:
    token = trusting.enrol("lost")
    other = trusting.enrol("kept")
    client = trusting.client("lost").connect(token)
    assert trusting.cli("device", "disable", "lost").returncode == 0
    client.until_disconnected()
    until("revoked", lambda: ("revoked", "token_revoked") in trusting.told("lost"))
    refused_as_revoked(trusting, "lost", token)

    trusting.wait_restarted("guard", trusting.kill("guard"))
    until("it decides", lambda: trusting.client("kept").try_connect("kept", other) == 0)
    refused_as_revoked(trusting, "lost", token)

    with installation(tmp_path / "second", issuers=[second_guard(trusting)]) as second:
        refused_as_revoked(second, "lost", token)
        second.client("kept").connect(other)


@pytest.mark.soak
def test_the_second_guard_of_a_server_that_is_away_lets_nobody_in(
    trusting: Installation, tmp_path: Path
) -> None:
    """What it cannot know it does not guess: no snapshot, no keys, no decision."""
    token = trusting.enrol("early")
    sections = second_guard(trusting).replace("localhost", "127.0.0.2")
    with installation(
        tmp_path / "second", issuers=[sections], guard=["ready_timeout = 0.5"]
    ) as second:
        code = second.client("early").try_connect("early", token)
        assert code != 0
        assert ("allowed", "") not in second.told("early")

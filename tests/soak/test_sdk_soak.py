# SPDX-License-Identifier: Apache-2.0
"""Devices that live by the SDK: 8-second tokens, no message lost, no will, no expired token."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.running import Installation, installation
from tests.soak.sdk_fleet import SdkFleet, Way

SECONDS = float(os.environ.get("KEYFOB_SOAK_SECONDS", "600"))
SIZE = int(os.environ.get("KEYFOB_SOAK_SDK_DEVICES", "200"))
LIFETIME = 8
WAYS = [Way("auth:OAUTH2-JWT", "reauthenticate"), Way("password", "reconnect")]


def short_tokens(directory: Path) -> None:
    path = directory / "keyfob.toml"
    text = path.read_text(encoding="utf-8")
    changed = re.sub(r"^token_lifetime = .*$", f"token_lifetime = {LIFETIME}", text, flags=re.M)
    assert changed != text
    path.write_text(changed, encoding="utf-8")


def outcomes(running: Installation) -> Counter[tuple[str, str]]:
    return Counter((event["outcome"], event["reason"]) for event in running.audit())


def judge(fleet: SdkFleet, running: Installation) -> None:
    """Nothing is lost, and the broker's guard was never shown an expired token."""
    audit = outcomes(running)
    print(f"\n{fleet.counts} {dict(audit)}")
    assert fleet.lost() == {}
    assert not [reason for _, reason in audit if "expired" in reason], audit


def undisturbed(directory: Path, way: Way, size: int, seconds: float, interval: float) -> None:
    with installation(directory / "data", plain=True, configured=short_tokens) as running:
        assert running.settings.mosquitto.plain_port
        fleet = SdkFleet(running, size, way, port=running.settings.mosquitto.plain_port)
        try:
            fleet.start(interval)
            time.sleep(seconds)
            fleet.finish()
            judge(fleet, running)
            assert fleet.wills == []
            audit = outcomes(running)
            if way.renew == "reauthenticate":
                renewals = sum(n for (what, _), n in audit.items() if what == "reauthenticated")
                assert fleet.counts["connack 0"] == size
            else:
                renewals = fleet.counts["connack 0"] - size
            assert renewals >= size * int((seconds - LIFETIME) / LIFETIME)
        finally:
            fleet.close()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.renew)
def test_short_nothing_is_lost_through_renewals(tmp_path: Path, way: Way) -> None:
    undisturbed(tmp_path, way, size=5, seconds=17, interval=0.2)


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.renew)
def test_nothing_is_lost_through_as_many_renewals_as_there_are(tmp_path: Path, way: Way) -> None:
    undisturbed(tmp_path, way, size=SIZE, seconds=SECONDS, interval=2.0)

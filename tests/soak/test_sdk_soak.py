# SPDX-License-Identifier: Apache-2.0
"""Devices that live by the SDK: 8-second tokens, no message lost, no will, no expired token."""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from keyfob.device import Moment
from keyfob.device.clock import system_clock
from tests.running import Installation, installation
from tests.soak.cable import Cable, cable
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
            assert fleet.counts["refused"] == 0
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


class SteppingClock:
    """This machine's clock, whose wall time somebody sets."""

    def __init__(self) -> None:
        self._clock = system_clock()
        self.offset = 0.0

    def __call__(self) -> Moment:
        now = self._clock()
        return dataclasses.replace(now, wall=now.wall + self.offset)


def disturb(
    what: str, running: Installation, between: Cable, clock: SteppingClock, pause: float
) -> None:
    """Do one of what happens to parts that belong to others."""
    match what:
        case "server killed":
            running.wait_restarted("server", running.kill("server"))
        case "broker restarted":
            # Told to end, it saves its sessions.
            running.wait_restarted("mosquitto", running.kill("mosquitto", signal.SIGTERM))
        case "guard killed":
            running.wait_restarted("guard", running.kill("guard"))
        case "network cut":
            between.cut()
            time.sleep(pause)
            between.mend()
        case "clock an hour ahead":
            clock.offset += 3600
        case "clock an hour back":
            clock.offset -= 3600


DISTURBANCES = (
    "server killed",
    "clock an hour ahead",
    "network cut",
    "broker restarted",
    "clock an hour back",
    "guard killed",
)


def disturbed(directory: Path, way: Way, size: int, seconds: float, pause: float) -> None:
    clock = SteppingClock()
    lines = ["save_every_change = true"]
    with installation(
        directory / "data", plain=True, configured=short_tokens, mosquitto=lines
    ) as running:
        assert running.settings.mosquitto.plain_port
        with cable(running.settings.mosquitto.plain_port) as between:
            fleet = SdkFleet(running, size, way, port=between.port, clock=clock)
            try:
                fleet.start(size / 25)
                until = time.monotonic() + seconds
                done = Counter[str]()
                for what in itertools.cycle(DISTURBANCES):
                    disturb(what, running, between, clock, pause)
                    done[what] += 1
                    time.sleep(pause)
                    if time.monotonic() > until:
                        break
                fleet.finish()
                print(f"\n{dict(done)}")
                judge(fleet, running)
                # At the very end of a token that could not be replaced in time, and as is told.
                assert fleet.counts["refused"] <= fleet.counts["sent"] / 50
                assert "Traceback" not in running.log()
            finally:
                fleet.close()


def test_short_nothing_is_lost_while_parts_fail(tmp_path: Path) -> None:
    disturbed(tmp_path, Way("auth:OAUTH2-JWT"), size=5, seconds=8, pause=1.3)


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.renew)
def test_nothing_is_lost_while_parts_fail(tmp_path: Path, way: Way) -> None:
    disturbed(tmp_path, way, size=SIZE, seconds=SECONDS, pause=8.0)

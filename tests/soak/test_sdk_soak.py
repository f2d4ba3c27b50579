# SPDX-License-Identifier: Apache-2.0
"""Devices that live by the SDK: short tokens, no message lost, no will, no expired token."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from keyfob.device import Moment
from keyfob.device.clock import system_clock
from tests.running import NOT_AUTHORIZED, Installation, installation, until
from tests.soak.cable import Cable, cable
from tests.soak.sdk_fleet import SdkFleet, Way

SECONDS = float(os.environ.get("KEYFOB_SOAK_SECONDS", "600"))
SIZE = int(os.environ.get("KEYFOB_SOAK_SDK_DEVICES", "200"))
LIFETIME, SHORT_LIFETIME = 8, 4
WAYS = [Way("auth:OAUTH2-JWT", "reauthenticate"), Way("password", "reconnect")]
EACH_WAY = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.renew)

# What httpx gives up while it connects, as a server hangs, is left to the garbage collector.
CUT_SHORT = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

FORGETS_NOTHING = "save_every_change = true"
"""The line for a broker that has all its sessions again after it was told to end."""

WILL_DELAY = 300
"""Seconds, longer than anything is away: a will that fires is of a device that did not return."""

LATE = re.compile(r"refused: its token has run out \(")
"""What the plugin says of a CONNECT whose token ended before it could decide."""


def token_lifetime(seconds: int, directory: Path) -> None:
    """Let the tokens of an installation live so long."""
    path = directory / "keyfob.toml"
    text = path.read_text(encoding="utf-8")
    changed = re.sub(r"^token_lifetime = .*$", f"token_lifetime = {seconds}", text, flags=re.M)
    assert changed != text
    path.write_text(changed, encoding="utf-8")


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """What the short forms share: whatever fails in it, all of it is there again in the end."""
    directory = tmp_path_factory.mktemp("short") / "data"
    with running_with(directory, SHORT_LIFETIME, FORGETS_NOTHING) as running:
        yield running


def running_with(
    directory: Path, lifetime: int, *lines: str
) -> contextlib.AbstractContextManager[Installation]:
    """Run an installation with tokens of that lifetime."""
    # On a machine that others use, too, a guard may not be given the CPU for 200 ms. Mosquitto then
    # goes on with the old token, which is right, and its end is the end of a connection. More than
    # a device leaves to a token that it shows, a quarter of its life, would make it late.
    lines = ("guard_timeout_ms = 1000", *lines)
    configured = functools.partial(token_lifetime, lifetime)
    return installation(directory, plain=True, configured=configured, mosquitto=lines)


@contextlib.contextmanager
def closing(fleets: Sequence[SdkFleet]) -> Iterator[None]:
    try:
        yield
    finally:
        for fleet in fleets:
            fleet.close()


def judge(
    fleets: Sequence[SdkFleet], running: Installation, *, restarts: int = 0, since: int = 0
) -> None:
    """Nothing is lost or refused, no will fired, and no expired token was shown to the broker.

    But for the wills that Mosquitto fires itself when it is told to end, of everybody and whatever
    their delay ("FIXME - this isn't quite right", says its main() from 2.0.11 to 2.1.2).

    Args:
        fleets: Who lived there.
        running: Where.
        restarts: How often the broker was told to end.
        since: How many events were in the audit before.
    """
    for fleet in fleets:
        fleet.finish()
    events = running.audit()[since:]
    audit = Counter((event["outcome"], event["reason"]) for event in events)
    for fleet in fleets:
        print(f"\n{fleet.way.renew}: {fleet.counts}, renewed {fleet.renewed(events)} times or more")
    went_on = running.log().count("goes on with the token that it had")
    late = len(LATE.findall(running.log()))
    print(f"at the broker: {dict(audit)}; {went_on} re-authentications without effect, {late} late")
    assert late == 0
    assert not [reason for _, reason in audit if "expired" in reason], audit
    for fleet in fleets:
        assert fleet.lost() == {}
        assert fleet.counts["refused"] == 0
        assert [name for name, fired in fleet.wills.items() if fired > restarts] == []


# Nothing fails


def undisturbed(
    running: Installation, ways: Sequence[Way], size: int, interval: float
) -> list[SdkFleet]:
    port = running.settings.mosquitto.plain_port
    assert port
    fleets = [SdkFleet(running, size, way, port=port) for way in ways]
    for fleet in fleets:
        fleet.start(interval)
    return fleets


def assert_no_other_connects(fleet: SdkFleet) -> None:
    if fleet.way.renew == "reauthenticate":
        assert fleet.counts["connack 0"] == len(fleet.devices)


def test_short_nothing_is_lost_through_renewals(short: Installation) -> None:
    fleets = undisturbed(short, WAYS, size=4, interval=0.2)
    with closing(fleets):
        until(
            "everybody has outlived two tokens",
            lambda: all(fleet.renewed(short.audit()) >= 2 for fleet in fleets),
        )
        judge(fleets, short)
        for fleet in fleets:
            assert_no_other_connects(fleet)
        name, expired = fleets[0].devices[0].name, fleets[0].devices[0].first
    # An expired token that is shown does stand in the audit.
    assert short.client(name).try_connect(name, expired) == NOT_AUTHORIZED
    until("it is there", lambda: ("refused", "token_expired") in short.told(name))


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 300)
@EACH_WAY
def test_nothing_is_lost_through_as_many_renewals_as_there_are(tmp_path: Path, way: Way) -> None:
    with running_with(tmp_path / "data", LIFETIME) as running:
        fleets = undisturbed(running, [way], SIZE, interval=2.0)
        with closing(fleets):
            time.sleep(SECONDS)
            judge(fleets, running)
            assert_no_other_connects(fleets[0])
            # Each token is replaced before its end.
            assert fleets[0].renewed(running.audit()) >= int(SECONDS / LIFETIME)


# Everything fails


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
        case "server away":
            # It hangs for as long as tokens live, and dies of it.
            pid = running.kill("server", signal.SIGSTOP)
            time.sleep(pause)
            running.kill("server")
            running.wait_restarted("server", pid)
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
    "server away",
    "clock an hour back",
    "guard killed",
)


def disturbed(
    running: Installation,
    ways: Sequence[Way],
    size: int,
    *,
    disturbances: Sequence[str] = DISTURBANCES,
    seconds: float,
    pause: float,
) -> None:
    clock, since = SteppingClock(), len(running.audit())
    assert running.settings.mosquitto.plain_port
    with cable(running.settings.mosquitto.plain_port) as between:
        fleets = [
            SdkFleet(running, size, way, port=between.port, clock=clock, will_delay=WILL_DELAY)
            for way in ways
        ]
        with closing(fleets):
            for fleet in fleets:
                fleet.start(min(size / 25, 8.0))
            until_then = time.monotonic() + seconds
            done = Counter[str]()
            for what in itertools.cycle(disturbances):
                disturb(what, running, between, clock, pause)
                done[what] += 1
                if time.monotonic() > until_then and len(done) == len(disturbances):
                    break
                time.sleep(pause)
            print(f"\n{dict(done)}")
            judge(fleets, running, restarts=done["broker restarted"], since=since)
            assert "Traceback" not in running.log()


def test_short_nothing_is_lost_while_parts_fail(short: Installation) -> None:
    at_once = [what for what in DISTURBANCES if what != "server away"]
    disturbed(short, WAYS, size=4, disturbances=at_once, seconds=0, pause=0.3)


@CUT_SHORT
def test_short_what_comes_as_tokens_run_out_is_not_lost(short: Installation) -> None:
    """The server is away for longer than tokens live; MQTT 3.1.1 cannot even say what it drops."""
    ways = [*WAYS, Way("password", "reconnect", v5=False)]
    pause = SHORT_LIFETIME + 0.5
    disturbed(short, ways, 4, disturbances=["server away"], seconds=0, pause=pause)


@CUT_SHORT
@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 600)
@EACH_WAY
def test_nothing_is_lost_while_parts_fail(tmp_path: Path, way: Way) -> None:
    with running_with(tmp_path / "data", LIFETIME, FORGETS_NOTHING) as running:
        disturbed(running, [way], SIZE, seconds=SECONDS, pause=float(LIFETIME))

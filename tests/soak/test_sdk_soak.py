# SPDX-License-Identifier: Apache-2.0
"""Devices that live by the SDK: short tokens, no message lost, no will, no expired token."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyfob.config import load
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


@dataclass(frozen=True)
class Place:
    """An installation, and the cables to it.

    Attributes:
        running: The installation, which knows nothing of them.
        to_server: From everybody, the guard too, to the authorization server.
        to_broker: From the devices to the broker.
    """

    running: Installation
    to_server: Cable
    to_broker: Cable

    def cut(self) -> None:
        """Leave the devices without a network."""
        self.to_broker.cut()
        self.to_server.cut()

    def mend(self) -> None:
        """Give it back."""
        self.to_server.mend()
        self.to_broker.mend()


def token_lifetime(seconds: int, directory: Path) -> None:
    """Let the tokens of an installation live so long."""
    changed(directory, r"token_lifetime = .*", f"token_lifetime = {seconds}", times=1)


def changed(directory: Path, line: str, into: str, *, times: int) -> None:
    """Change lines of an installation's configuration."""
    path = directory / "keyfob.toml"
    text, found = re.subn(rf"(?m)^{line}$", into, path.read_text(encoding="utf-8"))
    assert found == times
    path.write_text(text, encoding="utf-8")


def running_with(
    directory: Path,
    lifetime: int,
    *lines: str,
    configured: Callable[[Path], object] = lambda _: None,
) -> contextlib.AbstractContextManager[Installation]:
    """Run an installation with tokens of that lifetime."""
    # On a machine that others use, too, a guard may not be given the CPU for 200 ms. Mosquitto then
    # goes on with the old token, which is right, and its end is the end of a connection. More than
    # a device leaves to a token that it shows, a quarter of its life, would make it late.
    lines = ("guard_timeout_ms = 1000", *lines)

    def both(directory: Path) -> None:
        token_lifetime(lifetime, directory)
        configured(directory)

    return installation(directory, plain=True, configured=both, mosquitto=lines)


@contextlib.contextmanager
def cabled(directory: Path, lifetime: int) -> Iterator[Place]:
    """Run one that forgets no session, and that is reached by cables."""
    cables: list[Cable] = []
    with contextlib.ExitStack() as stack:

        def behind_a_cable(directory: Path) -> None:
            made = stack.enter_context(cable(load(directory / "keyfob.toml").server.port))
            cables.append(made)
            issuer = f'issuer = "https://localhost:{made.port}"'
            changed(directory, r'issuer = "https:.*', issuer, times=2)

        running = stack.enter_context(
            running_with(directory, lifetime, FORGETS_NOTHING, configured=behind_a_cable)
        )
        broker = running.settings.mosquitto.plain_port
        assert broker
        yield Place(running, cables[0], stack.enter_context(cable(broker)))


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """What the short forms share: whatever fails in it, all of it is there again in the end."""
    directory = tmp_path_factory.mktemp("short") / "data"
    with cabled(directory, SHORT_LIFETIME) as place:
        yield place


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


def test_short_nothing_is_lost_through_renewals(short: Place) -> None:
    running = short.running
    fleets = undisturbed(running, WAYS, size=4, interval=0.2)
    with closing(fleets):
        until(
            "everybody has outlived two tokens",
            lambda: all(fleet.renewed(running.audit()) >= 2 for fleet in fleets),
        )
        judge(fleets, running)
        for fleet in fleets:
            assert_no_other_connects(fleet)
        name, expired = fleets[0].devices[0].name, fleets[0].devices[0].first
    # An expired token that is shown does stand in the audit.
    assert running.client(name).try_connect(name, expired) == NOT_AUTHORIZED
    until("it is there", lambda: ("refused", "token_expired") in running.told(name))


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


def disturb(what: str, place: Place, clock: SteppingClock, pause: float) -> None:
    """Do one of what happens to parts that belong to others."""
    running = place.running
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
            place.cut()
            time.sleep(pause)
            place.mend()
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
    place: Place,
    ways: Sequence[Way],
    size: int,
    *,
    disturbances: Sequence[str] = DISTURBANCES,
    seconds: float,
    pause: float,
) -> None:
    running, clock = place.running, SteppingClock()
    since, port = len(running.audit()), place.to_broker.port
    fleets = [
        SdkFleet(running, size, way, port=port, clock=clock, will_delay=WILL_DELAY) for way in ways
    ]
    with closing(fleets):
        for fleet in fleets:
            fleet.start(min(size / 25, 8.0))
        until_then = time.monotonic() + seconds
        done = Counter[str]()
        for what in itertools.cycle(disturbances):
            disturb(what, place, clock, pause)
            done[what] += 1
            if time.monotonic() > until_then and len(done) == len(disturbances):
                break
            time.sleep(pause)
        print(f"\n{dict(done)}")
        judge(fleets, running, restarts=done["broker restarted"], since=since)
        assert "Traceback" not in running.log()


def test_short_nothing_is_lost_while_parts_fail(short: Place) -> None:
    at_once = [what for what in DISTURBANCES if what != "server away"]
    disturbed(short, WAYS, size=4, disturbances=at_once, seconds=0, pause=0.3)


@CUT_SHORT
def test_short_what_comes_as_tokens_run_out_is_not_lost(short: Place) -> None:
    """The server is away for longer than tokens live; MQTT 3.1.1 cannot even say what it drops."""
    ways = [*WAYS, Way("password", "reconnect", v5=False)]
    pause = SHORT_LIFETIME + 0.5
    disturbed(short, ways, 4, disturbances=["server away"], seconds=0, pause=pause)


@CUT_SHORT
@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 600)
@EACH_WAY
def test_nothing_is_lost_while_parts_fail(tmp_path: Path, way: Way) -> None:
    with cabled(tmp_path / "data", LIFETIME) as place:
        disturbed(place, [way], SIZE, seconds=SECONDS, pause=float(LIFETIME))

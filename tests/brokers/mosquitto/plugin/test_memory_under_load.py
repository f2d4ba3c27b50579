# SPDX-License-Identifier: Apache-2.0
"""A real broker under real load with the plugin watched: AddressSanitizer and UBSan, and valgrind.

While clients come, talk, vanish, stay beyond their time and send nonsense, the guard revokes,
replaces, hangs up and comes back.
"""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.frames import Connect, Record
from keyfob.errors import TopicError
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.broker import Broker, Plugin, build_plugin, is_2_1
from tests.brokers.mosquitto.plugin.fake_guard import (
    FakeGuard,
    Question,
    allow,
    allowed,
    refuse,
    until,
)
from tests.brokers.mosquitto.plugin.load import EVERYTHING, Load, resident
from tests.brokers.mosquitto.plugin.runner import PLUGIN

NAMES = [f"device-{number}" for number in range(60)]


def decide(connect: Question, request: int) -> bytes | None:
    """Let in with the right token, for two seconds at most; now and then say nothing at all."""
    if not isinstance(connect, Connect) or connect.password != b"good":
        return refuse(0x87)(connect, request)
    if connect.epoch % 997 == 0:
        return None
    try:
        return allow(seconds=0.3 + connect.epoch % 8 * 0.2)(connect, request)
    except TopicError:  # an identifier with a wildcard: who babbles says anything
        return refuse(0x85)(connect, request)


class Meddler(threading.Thread):
    """The guard has its say while clients come and go."""

    def __init__(self, guard: FakeGuard, seed: int) -> None:
        super().__init__()
        self.did: Counter[str] = Counter()
        self._guard = guard
        self._chance = random.Random(seed)
        self._over = threading.Event()

    def run(self) -> None:
        """Do one thing after the other until it is over."""
        while not self._over.wait(0.01):
            deed = self._chance.choices(["end", "replace", "hang up", "restart"], [40, 20, 1, 1])[0]
            try:
                self._do(deed)
            except OSError:
                deed = "nobody there"
            self.did[deed] += 1

    def stop(self) -> None:
        """End."""
        self._over.set()
        self.join()

    def _do(self, deed: str) -> None:
        name, chance = self._chance.choice(NAMES), self._chance
        if deed == "end":
            causes = (frames.REVOKED, frames.EXPIRED, frames.FORGOTTEN)
            self._guard.push(frames.end(name, chance.choice(causes)))
        elif deed == "replace":
            epoch = max(
                (c.epoch for c in self._guard.connects[-50:] if c.client_id == name), default=1
            )
            rights = allowed([f"{name}/up"], [f"{name}/#"])
            self._guard.push(
                frames.replace(
                    rights, name, epoch=epoch, principal=f"principal-{name}", subject=name
                )
            )
        elif deed == "hang up":
            self._guard.hang_up()
        else:
            self._guard.stop()
            self._guard.start()


def loaded(broker: Broker, guard: FakeGuard, cycles: int) -> Counter[str]:
    """Put the load on; return what clients and guard did."""
    guard.decide = decide
    load = Load(broker.port, lambda _: b"good", NAMES, seed=cycles)
    meddler = Meddler(guard, cycles)
    meddler.start()
    try:
        asyncio.run(load.run(cycles))
    finally:
        meddler.stop()
    assert not [said for said in load.done if "NEVER" in said], load.done
    print(load.done, meddler.did)
    return load.done + meddler.did


def options(program: str) -> dict[str, str]:
    """Both ways to decide on a broker that has both."""
    return {"decisions": "delayed"} if is_2_1(program) else {"guard_timeout_ms": "500"}


def everything_happened(did: Counter[str]) -> None:
    for deed in EVERYTHING:
        assert did[f"{deed}: done"] > 0, did
    for deed in ("end", "replace"):
        assert did[deed] > 0, did


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    return build_plugin(tmp_path_factory.mktemp("sanitized"), "sanitized")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    return build_plugin(tmp_path_factory.mktemp("watched"), "watched")


def under_sanitizers(
    directory: Path, plugin: Plugin, guard: FakeGuard, program: str, cycles: int
) -> None:
    with Broker(
        directory, plugin, guard.path, options(program), program=program, verbose=False
    ) as broker:
        everything_happened(loaded(broker, guard, cycles))


def test_short_the_sanitizers_find_nothing(
    directory: Path, sanitized: Plugin, guard: FakeGuard, any_program: str
) -> None:
    under_sanitizers(directory, sanitized, guard, any_program, 1_500)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_sanitizers_find_nothing(
    directory: Path, sanitized: Plugin, guard: FakeGuard, any_program: str
) -> None:
    under_sanitizers(directory, sanitized, guard, any_program, 100_000)


def is_delayed(question: Question) -> bool:
    """Whether the broker goes on while it waits."""
    return isinstance(question, Connect) and question.delayed


def aborted(directory: Path, plugin: Plugin, guard: FakeGuard, program: str, count: int) -> None:
    """Clients that leave before they are answered; where it can be, nobody comes twice.

    A broker that decides at once has let them in before it sees that they left, and one that goes
    on lets some in. A session may be left then, of which the plugin keeps a record, up to its limit
    for clients without a connection.
    """
    guard.decide = lambda connect, request: (
        None if is_delayed(connect) and connect.epoch % 2 else allow()(connect, request)
    )
    names = [f"aborted-{number}" for number in range(1_000_000 if is_2_1(program) else 50)]
    # Nobody waits longer, so that the second half finds what the first has left; and of those who
    # were in for a moment few records are kept, however many a quick machine lets in.
    brief = options(program) | {"decision_timeout_ms": "200", "offline_records": "50"}
    with Broker(directory, plugin, guard.path, brief, program=program, verbose=False) as broker:
        assert broker.process is not None
        weights = []
        for number in range(10):
            load = Load(broker.port, lambda _: b"good", names, deeds=("abort",), seed=number)
            asyncio.run(load.run(count // 10, at_once=20))
            weights.append(resident(broker.process.pid))
        print(f"{count} aborted: {', '.join(f'{weight:.2f}' for weight in weights)} MiB")
        assert weights[-1] - weights[4] < 0.5  # in the second half
        few = 0 if is_2_1(program) else 50
        # The broker may not have seen yet that the last ones left.
        until(lambda: len(told_anew(guard)) <= few, "few records")


def told_anew(guard: FakeGuard) -> list[Record]:
    """Return the records that the plugin tells over a new link."""
    before = guard.links
    guard.hang_up()
    until(lambda: guard.links > before, "a new link")
    return guard.records


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plugin:
    return build_plugin(tmp_path_factory.mktemp("plain"), "plain")


def test_short_aborted_connects_leave_nothing_behind(
    directory: Path, plain: Plugin, guard: FakeGuard, any_program: str
) -> None:
    aborted(directory, plain, guard, any_program, 1_000)


@pytest.mark.soak
def test_ten_thousand_aborted_connects_leave_nothing_behind(
    directory: Path, plain: Plugin, guard: FakeGuard, any_program: str
) -> None:
    aborted(directory, plain, guard, any_program, 10_000)


def complaints(directory: Path) -> Iterator[str]:
    """What valgrind says of the plugin; what the broker does by itself is its own business."""
    for report in directory.glob("valgrind.*"):
        text = re.sub(r"^==\d+== ?", "", report.read_text(), flags=re.MULTILINE)
        yield from (block for block in text.split("\n\n") if str(PLUGIN) in block)


def under_valgrind(directory: Path, plugin: Plugin, guard: FakeGuard, cycles: int) -> None:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("NOT WATCHED: valgrind is not installed")
    under: tuple[str, ...] = (
        valgrind,
        "--leak-check=full",
        "--show-leak-kinds=definite,indirect,possible",
    )
    under += ("--fullpath-after=", "--num-callers=40", f"--log-file={directory}/valgrind.%p")
    # The broker is some thirty times as slow.
    patient = {"guard_timeout_ms": "5000"}
    with Broker(directory, plugin, guard.path, patient, under=under, verbose=False) as broker:
        everything_happened(loaded(broker, guard, cycles))
    assert list(directory.glob("valgrind.*")) != []
    assert list(complaints(directory)) == []


def test_short_valgrind_finds_nothing(directory: Path, watched: Plugin, guard: FakeGuard) -> None:
    under_valgrind(directory, watched, guard, 800)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_valgrind_finds_nothing(directory: Path, watched: Plugin, guard: FakeGuard) -> None:
    under_valgrind(directory, watched, guard, 30_000)

# SPDX-License-Identifier: Apache-2.0
"""As many connected clients as a broker ever has: memory, ticks, and a guard that comes back."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cpu import cpu_seconds
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.broker import Broker, build_plugin
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard, allow
from tests.brokers.mosquitto.plugin.load import connect_packet, packet, resident
from tests.running import until
from tests.soak.scale import Crowd, room_for

CLIENTS = int(os.environ.get("KEYFOB_SOAK_CLIENTS", "100000"))
IDLE = 5.0  # seconds in which nothing happens
RIGHTS = allow(["devices/{id}/up/#"], ["devices/{id}/down/#"])  # two filters each


class Pinger(threading.Thread):
    """A client that pings and notes how long each answer takes."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.waits: list[float] = []
        self._over = threading.Event()
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._socket.sendall(connect_packet("pinger", b"good", keep_alive=0))
        assert self._socket.recv(64)[3] == 0

    def run(self) -> None:
        """Ping until it is over."""
        while not self._over.wait(0.002):
            began = time.perf_counter()
            self._socket.sendall(packet(0xC0, b""))
            assert self._socket.recv(2) == b"\xd0\0"
            self.waits.append(time.perf_counter() - began)

    def stop(self) -> str:
        """End, and tell."""
        self._over.set()
        self.join()
        self._socket.close()
        p99 = statistics.quantiles(self.waits, n=100)[98]
        return (
            f"{len(self.waits)} pings meanwhile: p50 {statistics.median(self.waits) * 1e3:.1f} ms,"
            f" p99 {p99 * 1e3:.1f} ms, longest {max(self.waits) * 1e3:.0f} ms"
        )


@contextlib.contextmanager
def crowded(broker: Broker, count: int) -> Iterator[tuple[Crowd, float]]:
    """Connect so many; tell how many bytes each of them costs the broker."""
    assert broker.process is not None
    before = resident(broker.process.pid)
    crowd = Crowd(broker.port)
    try:
        seconds = crowd.connect(count)
        each = (resident(broker.process.pid) - before) * 2**20 / count
        print(f"{count} connected in {seconds:.0f} s, {each:.0f} bytes each")
        yield crowd, each
    finally:
        crowd.close()


def idle_share(broker: Broker) -> float:
    """The share of a core that a broker uses while nothing happens."""
    assert broker.process is not None
    began = cpu_seconds(broker.process.pid)
    time.sleep(IDLE)
    return (cpu_seconds(broker.process.pid) - began) / IDLE


def resynchronised(broker: Broker, guard: FakeGuard, count: int) -> None:
    """The guard hangs up, and is told of everybody again, while the broker goes on."""
    pinger = Pinger(broker.port)
    pinger.start()
    links, began = guard.links, time.monotonic()
    guard.hang_up()
    until("everybody told anew", lambda: guard.links > links, 120)
    seconds = time.monotonic() - began
    print(f"resynchronised in {seconds:.1f} s; {pinger.stop()}")
    assert {record.client_id for record in guard.records} >= {
        f"device-{n:06}" for n in range(count)
    }


def revoked(crowd: Crowd, guard: FakeGuard, broker: Broker, count: int) -> None:
    """Those that are revoked are closed, and nobody else."""
    assert broker.process is not None
    names = {f"device-{n:06}" for n in range(0, count, max(1, count // 1_000))}
    cpu, began = cpu_seconds(broker.process.pid), time.monotonic()
    guard.push(b"".join(frames.end(name, frames.REVOKED) for name in sorted(names)))
    closed: set[str] = set()
    for name in crowd.ended(60):
        closed.add(name)
        if len(closed) == len(names):
            break
    cpu = cpu_seconds(broker.process.pid) - cpu
    print(
        f"{len(names)} revoked: closed within {time.monotonic() - began:.2f} s,"
        f" {cpu / len(names) * 1e6:.0f} us CPU each"
    )
    assert closed == names
    assert set(crowd.ended(1)) == names  # they stay closed; the others stay


def carried(count: int) -> None:
    count = room_for(count)
    print(f"\n{count} clients")
    with tempfile.TemporaryDirectory(prefix="keyfob-") as name:
        folder = Path(name)
        guard = FakeGuard(folder / "guard.sock")
        guard.decide = RIGHTS
        guard.start()
        plugin = build_plugin(folder, "plain")
        anonymous = folder / "anonymous"
        anonymous.mkdir()
        with (
            Bare(anonymous, plugin, guard.path, verbose=False) as bare,
            crowded(bare, count) as one,
        ):
            without, idle_without = one[1], idle_share(bare)
        with (
            Broker(folder, plugin, guard.path, verbose=False) as broker,
            crowded(broker, count) as (crowd, each),
        ):
            print(f"of them the plugin's: {each - without:.0f} bytes each")
            print(f"idle: {idle_share(broker):.2%} of a core, without plugin {idle_without:.2%}")
            resynchronised(broker, guard, count)
            revoked(crowd, guard, broker, count)
        guard.stop()
        assert guard.complaints == []


class Bare(Broker):
    """The same broker without the plugin."""

    def _configuration(self) -> str:
        lines = super()._configuration().splitlines()
        kept = [line for line in lines if not line.startswith("plugin")]
        return "\n".join(kept).replace("allow_anonymous false", "allow_anonymous true") + "\n"


def test_short_a_crowd_is_carried() -> None:
    carried(2_000)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_are_carried() -> None:
    carried(CLIENTS)

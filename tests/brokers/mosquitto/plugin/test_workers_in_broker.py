# SPDX-License-Identifier: Apache-2.0
"""The plugin in a broker whose guard has several workers: each client belongs to one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.frames import Admitted, Offline
from keyfob.brokers.mosquitto.workers import socket_of
from keyfob.guard.shares import owner_of
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.broker import (
    TAKEN,
    Broker,
    Device,
    Plugin,
    comes_in,
    devices,
    unavailable,
)
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard, allowed, until

WORKERS = 3
NAMES = [f"dev{i}" for i in range(24)]


def of(worker: int, workers: int = WORKERS) -> list[str]:
    """Return the clients of a worker."""
    return [name for name in NAMES if owner_of(name, workers) == worker]


class Workers:
    """The workers of one guard; those that are started listen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.guards: list[FakeGuard] = []

    def start(self, workers: int, *, but: tuple[int, ...] = ()) -> None:
        """Start that many, as a guard that comes back."""
        for worker in range(workers):
            guard = FakeGuard(socket_of(self.path, worker))
            guard.worker, guard.workers = worker, workers
            self.guards.append(guard)
            if worker not in but:
                guard.start()

    def stop(self) -> None:
        """Stop all, as a guard that ends."""
        for guard in self.guards:
            guard.stop()
            assert guard.complaints == []
        self.guards.clear()

    def linked(self) -> bool:
        return all(guard.links > 0 for guard in self.guards)

    def told(self) -> list[set[str]]:
        """Whose records each was told when its link was opened."""
        return [{record.client_id for record in guard.records} for guard in self.guards]


@pytest.fixture
def workers(directory: Path) -> Iterator[Workers]:
    started = Workers(directory / "guard.sock")
    yield started
    started.stop()


@pytest.fixture
def shared(directory: Path, plugin: Plugin, workers: Workers) -> Iterator[Broker]:
    """A broker whose guard has three workers."""
    workers.start(WORKERS)
    with Broker(directory, plugin, workers.path) as started:
        yield started


def is_refused(broker: Broker, client_id: str) -> bool:
    device = Device(broker.port, client_id)
    answer = device.connect()
    device.stop()
    return answer == unavailable()


def test_a_start_waits_for_every_worker(shared: Broker, workers: Workers) -> None:
    assert [guard.links for guard in workers.guards] == [1] * WORKERS
    with Device(shared.port, "dev1"):
        pass


def test_all_that_concerns_a_client_reaches_its_worker_and_no_other(
    shared: Broker, workers: Workers
) -> None:
    with devices(shared.port, NAMES):
        pass
    for worker, guard in enumerate(workers.guards):
        assert [connect.client_id for connect in guard.connects] == of(worker)
        for name in of(worker):
            until(lambda g=guard, n=name: g.heard(Offline, client_id=n), "OFFLINE")  # type: ignore[misc]
        for kind in (Admitted, Offline):
            heard = {frame.client_id for frame in guard.told if isinstance(frame, kind)}
            assert heard == set(of(worker))


def test_a_worker_is_told_the_records_of_its_own_clients(shared: Broker, workers: Workers) -> None:
    with devices(shared.port, NAMES):
        for guard in workers.guards:
            guard.hang_up()
        until(lambda: all(guard.links == 2 for guard in workers.guards), "new links")
        assert workers.told() == [set(of(worker)) for worker in range(WORKERS)]


@pytest.mark.parametrize("gone", range(WORKERS))
def test_a_worker_that_is_away_is_missed_by_its_own_clients_only(
    shared: Broker, workers: Workers, gone: int
) -> None:
    with devices(shared.port, NAMES) as before:
        workers.guards[gone].stop()
        until(lambda: is_refused(shared, f"{of(gone)[0]}"), "the link to break")
        for worker in range(WORKERS):
            assert comes_in(shared, of(worker)[0]) is (worker != gone)
        assert before[-1].publish(f"{NAMES[-1]}/x") in TAKEN
        workers.guards[gone].start()
        until(lambda: comes_in(shared, of(gone)[0]), "the worker to be found again")


def test_a_guard_that_comes_back_with_another_number_is_told_everybody_anew(
    shared: Broker, workers: Workers
) -> None:
    with devices(shared.port, NAMES):
        for number in (2, 5, 1):
            workers.stop()
            workers.start(number)
            until(workers.linked, "all links")
            until(lambda: comes_in(shared, "late"), "somebody to come in")
            expected = [set(of(worker, number)) for worker in range(number)]
            assert [told - {"late"} for told in workers.told()] == expected


def test_links_that_were_opened_for_another_number_are_opened_anew(
    shared: Broker, workers: Workers
) -> None:
    """Also where only the first worker's link has broken."""
    with devices(shared.port, NAMES):
        for guard in workers.guards:
            guard.workers = 2
        workers.guards[0].hang_up()
        until(lambda: [guard.links for guard in workers.guards] == [2, 2, 1], "new links")
        assert workers.told()[:2] == [set(of(0, 2)), set(of(1, 2))]


def test_while_workers_disagree_nobody_is_let_in(shared: Broker, workers: Workers) -> None:
    with Device(shared.port, "dev1") as device:
        workers.guards[1].workers = WORKERS + 1
        workers.guards[1].hang_up()
        until(lambda: "disagree how many they are" in shared.log, "a line in the log")
        late = Device(shared.port, "late")
        assert late.connect() == unavailable()
        late.stop()
        assert device.publish("dev1/x") in TAKEN
        workers.guards[1].workers = WORKERS
        until(lambda: comes_in(shared, "late"), "agreement")


def test_the_first_worker_need_not_be_there_to_know_the_number(
    directory: Path, plugin: Plugin, workers: Workers
) -> None:
    workers.start(WORKERS, but=(0,))
    with Broker(directory, plugin, workers.path, {"startup_wait_ms": "0"}) as broker:
        until(lambda: comes_in(broker, of(1)[0]) and comes_in(broker, of(2)[0]), "the others")
        assert is_refused(broker, of(0)[0])
        workers.guards[0].start()
        until(lambda: comes_in(broker, of(0)[0]), "the first")


def test_a_socket_where_another_worker_listens_is_left(
    directory: Path, plugin: Plugin, workers: Workers
) -> None:
    workers.start(WORKERS)
    workers.guards[2].worker = 1
    with Broker(directory, plugin, workers.path, {"startup_wait_ms": "0"}) as broker:
        until(lambda: comes_in(broker, of(0)[0]), "a worker in its place")
        assert is_refused(broker, of(2)[0])
        assert "another worker listens there" in broker.log


def test_as_many_workers_as_a_plugin_has_links_are_served(
    directory: Path, plugin: Plugin, workers: Workers
) -> None:
    workers.start(64)
    with Broker(directory, plugin, workers.path) as broker:
        assert workers.linked()
        with devices(broker.port, NAMES):
            for name in NAMES:
                (connect,) = workers.guards[owner_of(name, 64)].connects[-1:]
                assert connect.client_id in of(owner_of(name, 64), 64)


def test_more_workers_than_a_plugin_has_links_are_left(
    directory: Path, plugin: Plugin, workers: Workers
) -> None:
    workers.start(1)
    workers.guards[0].workers = 65
    with Broker(directory, plugin, workers.path, {"startup_wait_ms": "0"}) as broker:
        assert is_refused(broker, "dev1")
        assert "it has more than 64 workers" in broker.log


def test_what_a_worker_tells_of_anothers_client_is_not_believed(
    directory: Path, plugin: Plugin, workers: Workers
) -> None:
    """It is from a time when their number was another; the owner may know of a revocation."""
    mine, other = of(0)[0], of(1)[0]
    workers.start(WORKERS)
    workers.guards[0].greeting = [
        frames.record(allowed(), name, principal=name, subject=name) for name in (mine, other)
    ]
    with Broker(directory, plugin, workers.path):
        for guard in workers.guards:
            guard.hang_up()
        until(lambda: all(guard.links == 2 for guard in workers.guards), "new links")
        assert workers.told() == [{mine}, set(), set()]

# SPDX-License-Identifier: Apache-2.0
"""A guard of three workers: clients spread over them, and whoever is killed comes back."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob.guard.gathered import FRESH
from keyfob.guard.shares import Share
from tests.free_ports import free_port
from tests.running import NOT_AUTHORIZED, Client, Installation, installation, until

WORKERS = 3
ACCEPTED = {0, 0x10}
ROW = '\n[[issuer.policy]]\nscope = "extra"\npublish = ["extra/#"]\n'


def owner(client_id: str, workers: int = WORKERS) -> int:
    """Whose a client is."""
    return next(n for n in range(workers) if Share(n, workers).holds(client_id))


def one_each(prefix: str) -> list[str]:
    """A client identifier of each worker, in their order."""
    names = [f"{prefix}{n}" for n in range(100)]
    return [next(name for name in names if owner(name) == worker) for worker in range(WORKERS)]


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    directory = tmp_path_factory.mktemp("several") / "data"
    http = f"[guard.http]\nport = {free_port()}\n"
    guard = [f"workers = {WORKERS}"]
    with installation(directory, plain=True, guard=guard, issuers=[http]) as up:
        yield up


@pytest.fixture(autouse=True)
def _everybody_is_there(several: Installation) -> Iterator[None]:
    yield
    several.close_clients()
    until("all workers", several.is_ready)


def worker(number: int) -> str:
    return f"guard-worker-{number}"


def connected(up: Installation, names: list[str], *scopes: str) -> list[Client]:
    rights = {"publish": ["w/#"], "subscribe": ["w/#"], "scopes": scopes}
    return [up.come_in(name, up.enrol(name, **rights)) for name in names]


def messages_flow(clients: list[Client], payload: str) -> None:
    """Each publishes, and each receives what all have published."""
    for number, client in enumerate(clients):
        assert client.publish(f"w/{number}", payload) in ACCEPTED
        assert client.publish(f"forbidden/{number}") == NOT_AUTHORIZED
    for client in clients:
        for number in range(len(clients)):
            client.until_message(f"w/{number}", payload)
        assert client.disconnects == []


def test_each_client_is_decided_by_its_own_worker(several: Installation) -> None:
    names = one_each("own")
    tokens = {name: several.enrol(name) for name in names}
    frozen = several.kill(worker(1), signal.SIGSTOP)
    try:
        codes = [several.client(name).try_connect(name, tokens[name]) for name in names]
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert codes == [0, several.connack(0x88), 0]


def test_a_killed_worker_costs_its_clients_nothing(several: Installation) -> None:
    clients = connected(several, one_each("flow"))
    for client in clients:
        client.subscribe("w/#")
    killed = {number: several.kill(worker(number)) for number in range(WORKERS)}
    messages_flow(clients, "nobody decides")
    for number, old in killed.items():
        several.wait_restarted(worker(number), old)
    until("all workers", several.is_ready)
    messages_flow(clients, "all are back")
    connected(several, one_each("later"))


def test_a_killed_lead_takes_its_workers_along_and_costs_nobody_a_session(
    several: Installation,
) -> None:
    clients = connected(several, one_each("lead"))
    for client in clients:
        client.subscribe("w/#")
    workers = {several.pid(worker(number)) for number in range(WORKERS)}
    old = several.kill("guard")
    messages_flow(clients, "without a guard")
    several.wait_restarted("guard", old)
    until("new workers", several.is_ready)
    now = {several.pid(worker(number)) for number in range(WORKERS)}
    assert not workers & now
    until("no old one", lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    messages_flow(clients, "with a new one")
    connected(several, one_each("afterlead"))


def test_a_revocation_reaches_the_worker_whose_client_it_is(several: Installation) -> None:
    names = one_each("out")
    for client, name in zip(connected(several, names), names, strict=True):
        several.disable(name)
        client.until_disconnected()


def test_a_reload_reaches_all_workers(several: Installation) -> None:
    clients = connected(several, one_each("row"), "extra")
    assert [client.publish("extra/t") for client in clients] == [NOT_AUTHORIZED] * WORKERS
    said = several.configure(lambda text: text.replace("\n[mosquitto]", f"{ROW}\n[mosquitto]"))
    assert "3 changed" in said
    for client in clients:
        until("it may", lambda client=client: client.publish("extra/t") in ACCEPTED)
    several.configure(lambda text: text.replace(ROW, ""))
    for client in clients:
        until("no more", lambda client=client: client.publish("extra/t") == NOT_AUTHORIZED)
        assert client.disconnects == []


def test_metrics_are_those_of_all_workers_together(several: Installation) -> None:
    def allowed() -> int:
        _, text = several.http("/metrics")
        found = re.findall(r'^keyfob_guard_decisions_total\{.*reason="allowed"\} (\d+)', text, re.M)
        return sum(map(int, found))

    until("all workers answer", several.is_ready)
    time.sleep(FRESH)  # figures of a moment ago are told again
    before = allowed()
    connected(several, one_each("count"))
    until("all are counted", lambda: allowed() == before + WORKERS)


# The last one: it leaves two workers.
def test_with_fewer_workers_sessions_are_still_enforced_and_owned(several: Installation) -> None:
    online = connected(several, one_each("fewer"))
    sleepers = one_each("sleeper")
    tokens = {name: several.enrol(name, subscribe=["owed/#"]) for name in sleepers}
    for name, token in tokens.items():
        sleeper = several.client(name, clean=False).connect(token)
        assert sleeper.subscribe("owed/#") == 1
        sleeper.drop()
    change_workers(several, WORKERS, 2)
    assert not (several.directory / "run" / "guard.sock.2").exists()
    for client in online:
        assert client.publish("w/t") in ACCEPTED
        assert client.publish("forbidden/t") == NOT_AUTHORIZED
        assert client.disconnects == []
    publisher = several.come_in("giver", several.enrol("giver", publish=["owed/#"]))
    assert publisher.publish("owed/1", "kept") == 0
    for name, token in tokens.items():
        back = several.come_in(name, token, clean=False)
        assert back.session_present[-1] is True
        back.until_message("owed/1", "kept")
        several.disable(name)
        back.until_disconnected()


def change_workers(up: Installation, before: int, now: int) -> None:
    path = up.directory / "keyfob.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f"workers = {before}", f"workers = {now}"), encoding="utf-8")
    old = up.kill("guard", signal.SIGTERM)
    up.wait_restarted("guard", old)
    until("the workers", up.is_ready)

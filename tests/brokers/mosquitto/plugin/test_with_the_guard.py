# SPDX-License-Identifier: Apache-2.0
"""Plugin and guard, both real, with three workers: each client ends up with its owner."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from keyfob.brokers.mosquitto.link import LinkServer
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.revocations import Revocation
from keyfob.guard.session import SessionState
from keyfob.guard.sessions import SessionStore
from keyfob.guard.shares import owner_of
from tests.brokers.mosquitto.linking import ISSUER, issuers, token
from tests.brokers.mosquitto.plugin.broker import NOT_AUTHORIZED, TAKEN, Broker, Device, Plugin
from tests.brokers.mosquitto.plugin.fake_guard import PATIENCE, until
from tests.mqtt5 import AUTH, REAUTHENTICATE, Client, Packet

WORKERS = 3
NAMES = [f"dev{i}" for i in range(12)]
METHOD = "OAUTH2-JWT"


def fresh(name: str, **changes: str) -> str:
    now = int(time.time())
    return token(name, iat=now - 10, exp=now + 600, **changes).decode()


def named(*names: str) -> dict[str, IssuerBinding]:
    """The issuer of these tests, by other names."""
    (binding,) = issuers().values()
    return {name: replace(binding, trusted=replace(binding.trusted, issuer=name)) for name in names}


class Workers:
    """Three workers of a guard, in a thread that has an event loop."""

    def __init__(self, path: Path) -> None:
        self.sessions = [SessionStore() for _ in range(WORKERS)]
        self.guards: list[Guard] = []
        self._servers: list[LinkServer] = []
        self._path = path
        self._listening = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _serve(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            for worker, sessions in enumerate(self.sessions):
                guard = Guard(issuers(), sessions=sessions, authentication_methods=(METHOD,))
                self.guards.append(await stack.enter_async_context(guard))
                self._servers.append(LinkServer(guard, self._path, worker=worker, workers=WORKERS))
                await stack.enter_async_context(self._servers[worker])
            self._listening.set()
            await self._stop.wait()

    def revoke(self, subject: str) -> None:
        """Revoke a subject's tokens, in every worker."""
        revocation = Revocation(issuer=ISSUER, subject=subject, until=time.time() + 600)
        for guard in self.guards:
            self._do(guard.revoke(revocation))

    def trust(self, *names: str) -> None:
        """Trust these issuers and no others from now on, in every worker."""
        for guard in self.guards:
            self._do(guard.reload(named(*names)))

    def stop(self, worker: int) -> None:
        """Close a worker's socket and links; it keeps what it knows."""
        self._do(self._servers[worker].close())

    def start(self, worker: int) -> None:
        """Listen again."""
        self._do(self._servers[worker].start())

    def _do(self, what: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(PATIENCE)

    def linked(self) -> bool:
        """Whether the broker has a link to each."""
        return all(
            any(broker.synchronised for broker in server.brokers()) for server in self._servers
        )

    def knows(self, client: Renewing) -> bool:
        """Whether the client's own worker has its last token."""
        session = self.sessions[owner_of(client.name, WORKERS)].get("mosquitto", client.name)
        return session is not None and session.token_id == f"{client.name}-{client.renewed}"

    def online(self) -> list[set[str]]:
        """Who has a live session, by worker."""
        return [
            {
                session.client_id
                for session in tuple(store.of_broker("mosquitto"))
                if session.state is SessionState.ONLINE
            }
            for store in self.sessions
        ]


@pytest.fixture
def workers(directory: Path) -> Iterator[Workers]:
    with Workers(directory / "guard.sock") as started:
        yield started


def test_each_client_is_decided_about_by_its_owner_and_kept_there(
    directory: Path, plugin: Plugin, workers: Workers, any_program: str
) -> None:
    path = directory / "guard.sock"
    with (
        Broker(directory, plugin, path, program=any_program) as broker,
        contextlib.ExitStack() as stack,
    ):
        for name in NAMES:
            device = Device(broker.port, name, token=fresh(name))
            stack.enter_context(device)
            assert device.publish(f"{name}/up") in TAKEN
        expected = [{n for n in NAMES if owner_of(n, WORKERS) == w} for w in range(WORKERS)]
        until(lambda: workers.online() == expected, "the sessions")
        stranger = Device(broker.port, "dev1-stranger", token=fresh("dev1"))
        assert stranger.connect() in {NOT_AUTHORIZED, 0x85}
        stranger.stop()
    until(lambda: workers.online() == [set(), set(), set()], "their ends")


OTHER_ISSUER = "https://other.example"


def test_what_an_issuer_left_behind_goes_to_nobody_when_it_is_not_trusted_any_more(
    directory: Path, plugin: Plugin, workers: Workers, any_program: str
) -> None:
    """Neither to another issuer's device of that name, nor to its own when it is trusted again."""
    path = directory / "guard.sock"
    theirs = {name: fresh(name, iss=OTHER_ISSUER) for name in ("dev1", "dev2")}
    rights = "mqtt.connect mqtt.publish:dev1/%23 mqtt.publish:dev2/%23"
    with (
        Broker(directory, plugin, path, program=any_program) as broker,
        Device(broker.port, "sender", token=fresh("sender", scope=rights)) as sender,
    ):
        for name in theirs:
            with Device(broker.port, name, token=fresh(name), clean=False) as device:
                assert device.subscribe(f"{name}/#") == 1
            until(lambda n=name: not any(n in each for each in workers.online()), "its end")  # type: ignore[misc]
            assert sender.publish(f"{name}/x", b"before") == 0
        workers.trust(OTHER_ISSUER)
        refused = Device(broker.port, "dev1", token=theirs["dev1"], clean=False)
        assert refused.connect() in {NOT_AUTHORIZED, 0x85}
        refused.stop()
        with Device(broker.port, "dev1", token=theirs["dev1"]) as another:
            assert not another.session_present
            assert another.subscribe("dev1/#") == 1
            assert another.publish("dev1/up", b"own") in TAKEN
            assert another.received() == ("dev1/up", b"own")
        workers.trust(ISSUER)
        with Device(broker.port, "dev2", token=fresh("dev2"), clean=False) as back:
            assert back.session_present
            assert back.publish("dev2/up", b"own") in TAKEN
            assert back.received() == ("dev2/up", b"own")


class Renewing:
    """A client that shows one token after the other, and sends a message between each two."""

    def __init__(self, port: int, name: str) -> None:
        self.name = name
        self.renewed = 0
        self.ended: Packet | str | None = None
        self.stops = threading.Event()
        self._client = Client(port, name, METHOD)
        answer = self._client.connect(fresh(name).encode())
        assert answer is not None
        assert answer.reason == 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def join(self) -> None:
        self.stops.set()
        self._thread.join(PATIENCE)
        self._client.close()

    def _run(self) -> None:
        while not self.stops.is_set():
            try:
                jti = f"{self.name}-{self.renewed + 1}"
                answer = self._client.auth(REAUTHENTICATE, fresh(self.name, jti=jti).encode())
                if answer is None or (answer.kind, answer.reason) != (AUTH, 0):
                    self.ended = answer or "closed"
                    return
                self.renewed += 1
                taken = self._client.publish(f"{self.name}/up")
                if taken not in TAKEN:
                    self.ended = f"a message was refused: {taken}"
                    return
            except OSError:
                self.ended = "closed"
                return


def test_renewals_go_on_while_a_worker_is_away_and_others_revoke(
    directory: Path, plugin: Plugin, workers: Workers, any_program: str
) -> None:
    """Who is revoked goes, whoever else is there stays, and each worker knows its clients' last."""
    path = directory / "guard.sock"
    with Broker(directory, plugin, path, program=any_program, verbose=False) as broker:
        clients = {name: Renewing(broker.port, name) for name in NAMES}
        try:
            revoked = {NAMES[0], NAMES[5]}
            for worker in range(WORKERS):
                workers.stop(worker)
                before = {name: clients[name].renewed for name in NAMES}
                until(lambda b=before: renewed_since(clients, b, but=revoked), "renewals without")  # type: ignore[misc]
                workers.start(worker)
                until(workers.linked, "the link to be there again")
                if worker == 1:
                    for name in revoked:
                        workers.revoke(name)
                    until(lambda: all(clients[n].ended for n in revoked), "the revoked to go")
            before = {name: clients[name].renewed for name in NAMES}
            until(lambda: renewed_since(clients, before, but=revoked), "renewals with all")
            stayed = [name for name in NAMES if name not in revoked]
            assert [clients[name].ended for name in stayed] == [None] * len(stayed)
            for client in clients.values():
                client.stops.set()
            until(lambda: all(workers.knows(clients[name]) for name in stayed), "the last tokens")
            online = set().union(*workers.online())
            assert online == set(stayed)
        finally:
            for client in clients.values():
                client.join()


def renewed_since(clients: dict[str, Renewing], before: dict[str, int], *, but: set[str]) -> bool:
    return all(clients[n].renewed > before[n] + 1 for n in clients if n not in but)

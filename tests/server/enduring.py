# SPDX-License-Identifier: Apache-2.0
"""Devices register, get new secrets, refresh and are disabled, while something is disturbed.

Whatever was answered is true ever after: nothing of it is lost, and nothing is there twice. What
got no answer happened or did not, and is asked for again until there is one.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx

from keyfob.server.register import Register
from keyfob.server.registration.initial_tokens import RegistrationTokens, Template
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import open_store
from keyfob.server.wishes import ApplicationWish
from tests.server.databases import rows
from tests.server.refresh_servers import ServerProcess, server_process
from tests.server.test_refresh_processes import Client as Refresher

__all__ = ["endure"]

USES = 1_000_000
ADMIN = ["keyfob.admin.devices:read", "keyfob.admin.devices:write"]


@dataclass
class Asker:
    """Somebody who asks until there is an answer, and counts how often there was none."""

    url: str
    answered: int = 0
    unanswered: int = 0
    wrong: list[str] = field(default_factory=list)

    def ask(self, http: httpx.Client, method: str, path: str, **more: object) -> httpx.Response:
        while True:
            try:
                answer = http.request(method, f"{self.url}{path}", **more)  # type: ignore[arg-type]
            except httpx.TransportError:
                self.unanswered += 1
                threading.Event().wait(0.02)
                continue
            if answer.status_code == 503:  # the database is taken, as after a kill
                self.unanswered += 1
                continue
            self.answered += 1
            return answer

    def token(self, http: httpx.Client, name: str, secret: str) -> httpx.Response:
        form = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
        return self.ask(http, "POST", "/oauth2/token", data=form)

    def expect(self, status: int, answer: httpx.Response) -> None:
        if answer.status_code != status:
            self.wrong.append(f"{answer.request.url}: {answer.status_code} {answer.text}")


@dataclass
class Registrar(Asker):
    """A production line whose devices register themselves, one after the other."""

    initial: str = ""
    secrets: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)

    def step(self, http: httpx.Client) -> None:
        name = f"line-{len(self.secrets) + len(self.silent)}"
        before = self.unanswered
        answer = self.ask(
            http,
            "POST",
            "/oauth2/register",
            json={"device_id": name},
            headers={"Authorization": f"Bearer {self.initial}"},
        )
        if answer.status_code == 201:
            self.secrets[name] = answer.json()["client_secret"]
        elif self.unanswered > before and answer.status_code == 400:
            self.silent.add(name)  # it was there already: the answer was lost, the device was not
        else:
            self.expect(201, answer)


@dataclass
class Operator(Asker):
    """Gives one device new secrets, and disables others, over the admin API."""

    secret: str = ""
    device_secret: str = ""
    spare: list[tuple[str, str]] = field(default_factory=list)
    disabled: list[tuple[str, str]] = field(default_factory=list)
    rotated: int = 0

    def step(self, http: httpx.Client) -> None:
        before = self.device_secret
        answer = self.admin(http, "/devices/rotated/rotate-secret")
        self.expect(200, answer)
        self.device_secret = answer.json()["client_secret"]
        self.rotated += 1
        self.expect(200, self.token(http, "rotated", self.device_secret))
        self.expect(401, self.token(http, "rotated", before))
        if self.spare:
            name, secret = self.spare.pop()
            self.expect(200, self.admin(http, f"/devices/{name}/disable"))
            self.disabled.append((name, secret))
            self.expect(401, self.token(http, name, secret))

    def admin(self, http: httpx.Client, path: str) -> httpx.Response:
        token = self.token(http, "operator", self.secret).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return self.ask(http, "POST", f"/admin/v1{path}", json={}, headers=headers)


def repeat(step: Callable[[httpx.Client], None], asker: Asker, stop: threading.Event) -> None:
    """Go on until the end, or until something was wrong."""
    with httpx.Client(timeout=60) as http:
        while not stop.is_set() and not asker.wrong:
            step(http)


def endure(database: Place, disturb: Callable[[ServerProcess], None], rounds: int) -> None:
    """Disturb a server on this database so often, and judge what came of it."""
    with Register(open_store(database)) as register:
        register.add_application(ApplicationWish("app", public=True, refresh=True))
        _, secret = register.add_service("operator", scopes=ADMIN)
        refreshing = register.add_device("refreshing").secret
        rotated = register.add_device("rotated").secret
        spare = [(f"spare{n}", register.add_device(f"spare{n}").secret) for n in range(300)]
    with contextlib.closing(open_store(database)) as store:
        line = RegistrationTokens(store).add(
            "line", uses=USES, seconds=86_400, template=Template(prefix="line-")
        )
    with server_process(database, limited=False) as server:
        registrar = Registrar(server.url, initial=line.token)
        operator = Operator(server.url, secret=secret, device_secret=rotated, spare=spare)
        refresher = Refresher("refreshing", refreshing, server.url)
        with working(registrar, operator, refresher):
            for _ in range(rounds):
                wait_for_answers(registrar, operator, refresher)
                disturb(server)
            wait_for_answers(registrar, operator, refresher)
        assert [registrar.wrong, operator.wrong, refresher.wrong] == [[], [], []]
        told(registrar, operator, refresher, rounds)
        still_true(server, registrar, operator)
    kept(database, registrar, operator)


@contextlib.contextmanager
def working(registrar: Registrar, operator: Operator, refresher: Refresher) -> Iterator[None]:
    """Let each work in a thread of its own."""
    stop = threading.Event()
    threads = [
        threading.Thread(target=repeat, args=(registrar.step, registrar, stop)),
        threading.Thread(target=repeat, args=(operator.step, operator, stop)),
        threading.Thread(target=refresher.run, args=(stop,)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(120)


def wait_for_answers(registrar: Registrar, operator: Operator, refresher: Refresher) -> None:
    """Wait until everybody got on, so that each kill falls into the middle of something."""
    goal = registrar.answered + random.randint(5, 30)
    done = (operator.rotated, refresher.answered)
    while registrar.answered < goal or (operator.rotated, refresher.answered) == done:
        assert [registrar.wrong, operator.wrong, refresher.wrong] == [[], [], []]
        threading.Event().wait(0.005)


def still_true(server: ServerProcess, registrar: Registrar, operator: Operator) -> None:
    """Ask the server that was started last about everything that was ever answered."""
    with httpx.Client(timeout=60) as http:
        for name, secret in registrar.secrets.items():
            registrar.expect(200, registrar.token(http, name, secret))
        for name, secret in operator.disabled:
            operator.expect(401, operator.token(http, name, secret))
        operator.expect(200, operator.token(http, "rotated", operator.device_secret))
    assert [registrar.wrong, operator.wrong] == [[], []]
    assert server.process.poll() is None


def told(registrar: Registrar, operator: Operator, refresher: Refresher, rounds: int) -> None:
    unanswered = registrar.unanswered + operator.unanswered + refresher.unanswered
    print(
        f"\n{rounds} times: {len(registrar.secrets)} registered and {len(registrar.silent)} without"
        f" an answer, {operator.rotated} rotated, {len(operator.disabled)} disabled,"
        f" {refresher.answered} refreshed; {unanswered} requests without an answer"
    )
    # In a few rounds it may be that nobody asked at the wrong moment.
    assert unanswered > 0 or rounds < 10


def kept(database: Place, registrar: Registrar, operator: Operator) -> None:
    """Count in the database what there has to be once."""
    names = [name for (name,) in rows(database, "SELECT client_id FROM client")]
    lines = [name for name in names if name.startswith("line-")]
    assert set(lines) >= registrar.secrets.keys() | registrar.silent
    # The last one may have been registered when it was to stop, and its answer thrown away.
    assert len(lines) - len(registrar.secrets) - len(registrar.silent) in {0, 1}
    with contextlib.closing(open_store(database)) as store:
        assert [one.uses_left for one in RegistrationTokens(store).list()] == [USES - len(lines)]
    revoked = {name for (name,) in rows(database, "SELECT subject FROM revocation")}
    assert revoked >= {name for name, _ in operator.disabled}

# SPDX-License-Identifier: Apache-2.0
"""Several processes with one file and one rotating refresh token; kills; the interpreter's end."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyfob.device import FileStore, Password, RefreshToken, TokenSource
from keyfob.server.register import Register
from keyfob.server.wishes import ApplicationWish, DeviceWish
from tests.device.world import good, rogue
from tests.running import until
from tests.server.refresh_servers import ServerProcess, server_process

pytestmark = pytest.mark.timeout(120)

WORKER = """
import random, sys, time
from keyfob.device import FileStore, Password, RefreshToken, TokenSource
from keyfob.errors import TokenRequestError

url, path, seed = sys.argv[1:]
draws = random.Random(seed)
source = TokenSource(
    url, client_id="app", grant=RefreshToken(refresh_token="none-but-the-kept"),
    store=FileStore(path),
)
while True:
    try:
        token = source.renew().result(30)
    except TokenRequestError as error:
        print("REFUSED", error.error, flush=True)
        break
    print("token", flush=True)
    time.sleep(draws.random() * 0.02)
"""


@pytest.fixture
def secret(tmp_path: Path) -> str:
    """That of a device; it logs in through a public application."""
    with Register.open(tmp_path / "server.db") as register:
        register.add_application(ApplicationWish("app", public=True, refresh=True))
        return register.add_device(DeviceWish("dev1")).secret


@pytest.fixture
def server(tmp_path: Path, secret: str) -> Iterator[ServerProcess]:
    """With the grace period that it has where nobody says otherwise."""
    with server_process(tmp_path / "server.db", grace=10.0, limited=False) as server:
        yield server


@pytest.fixture
def path(server: ServerProcess, secret: str, tmp_path: Path) -> Path:
    """A file with the first token of a family."""
    path = tmp_path / "token"
    login = Password(username="dev1", password=secret)
    first = TokenSource(server.url, client_id="app", grant=login).get()
    given = RefreshToken(refresh_token=first.refresh_token or "")
    TokenSource(server.url, client_id="app", grant=given, store=FileStore(path)).get()
    return path


def worker(server: ServerProcess, path: Path, seed: int) -> subprocess.Popen[bytes]:
    log = path.with_name(f"worker-{seed}.log").open("wb")
    with log:
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, server.url, str(path), str(seed)],
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def told(path: Path) -> list[str]:
    logs = sorted(path.parent.glob("worker-*.log"))
    return [line for log in logs for line in log.read_text().splitlines()]


def assert_alive(server: ServerProcess, path: Path) -> None:
    token = FileStore(path).load()
    assert token is not None
    form = {
        "grant_type": "refresh_token",
        "client_id": "app",
        "refresh_token": str(token.refresh_token),
    }
    answer = httpx.post(f"{server.url}/oauth2/token", data=form)
    assert answer.status_code == 200, answer.text


def test_no_process_spends_what_another_has_spent(server: ServerProcess, path: Path) -> None:
    workers = [worker(server, path, seed) for seed in range(4)]
    try:
        until("they renew", lambda: told(path).count("token") > 40, 60)
    finally:
        for each in workers:
            each.terminate()
        for each in workers:
            each.wait(30)
    assert not [line for line in told(path) if line != "token"]
    assert_alive(server, path)


def test_a_family_outlives_kills_at_any_moment(server: ServerProcess, path: Path) -> None:
    draws = random.Random(str(time.time_ns()))
    workers = {seed: worker(server, path, seed) for seed in range(3)}
    try:
        for kill in range(3, 9):
            victim = draws.choice(sorted(workers))
            seen = told(path).count("token")
            until("they renew", lambda seen=seen: told(path).count("token") > seen, 30)
            time.sleep(draws.random() * 0.05)
            workers[victim].kill()
            workers.pop(victim).wait(30)
            workers[kill] = worker(server, path, kill)
    finally:
        for each in workers.values():
            each.kill()
            each.wait(30)
    assert not [line for line in told(path) if "REFUSED" in line]
    assert_alive(server, path)


@pytest.mark.parametrize("grace", [10.0, 0.0])
def test_what_a_kill_between_the_servers_rotation_and_our_save_costs(
    tmp_path: Path, secret: str, grace: float
) -> None:
    """Within the server's grace period nothing; without one the family."""
    with server_process(tmp_path / "server.db", grace=grace, limited=False) as server:
        store = FileStore(tmp_path / "token")
        grant = Password(username="dev1", password=secret)
        source = TokenSource(server.url, client_id="app", grant=grant, store=store)
        kept = source.get()
        program = (
            "import os, sys\n"
            "from keyfob.device import FileStore, Password, TokenSource\n"
            "class Killed(FileStore):\n"
            "    def save(self, token): os.kill(os.getpid(), 9)\n"
            "url, path, grant = *sys.argv[1:], Password(username='dev1', password='none')\n"
            "source = TokenSource(url, client_id='app', grant=grant, store=Killed(path))\n"
            "source.renew().result()"
        )
        killed = subprocess.run(
            [sys.executable, "-c", program, server.url, str(tmp_path / "token")], check=False
        )
        assert killed.returncode == -9
        assert store.load() == kept
        form = {
            "grant_type": "refresh_token",
            "client_id": "app",
            "refresh_token": str(kept.refresh_token),
        }
        answer = httpx.post(f"{server.url}/oauth2/token", data=form)
        assert answer.status_code == (200 if grace else 400)
        # A grant that needs no person goes on either way.
        assert source.renew().result(20).access_token


LEAVER = """
import sys
from keyfob.device import FileStore, TokenSource

source = TokenSource(sys.argv[1], client_id="app", store=FileStore(sys.argv[2]))
source.renew()
sys.stdin.readline()
"""


def test_a_program_that_ends_waits_for_a_refresh_token_that_is_being_spent(
    tmp_path: Path,
) -> None:
    with rogue(good(refresh_token="first")) as server:
        store = FileStore(tmp_path / "token")
        TokenSource(server.url, client_id="app", store=store).get()
        assert _left_while_asking(server, tmp_path, {"refresh_token": "second"}) == 0
        kept = store.load()
        assert kept is not None
        assert kept.refresh_token == "second"


def test_a_program_that_ends_waits_for_nothing_else(tmp_path: Path) -> None:
    with rogue(good()) as server:
        store = FileStore(tmp_path / "token")
        assert _left_while_asking(server, tmp_path, {}) == 0
        assert store.load() is None


UNRESOLVED = """
import socket, threading
socket.getaddrinfo = lambda *_, **__: threading.Event().wait()  # a resolver that nobody answers
from keyfob.device import TokenSource
from keyfob.errors import TokenUnavailableError

try:
    TokenSource("https://as.example", client_id="app").get(timeout=0.1)
except TokenUnavailableError as error:
    print(error)
"""


def test_a_program_that_ends_waits_for_no_name_to_be_resolved() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", UNRESOLVED],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "no token within 0.1 s\n")
    assert done.stderr == ""


def _left_while_asking(server: Any, folder: Path, more: dict[str, str]) -> int:
    """End a program between its question and the answer; its exit code."""
    asked = server.asked
    leaver: subprocess.Popen[bytes] | None = None

    def slow(request: bytes, connection: Any) -> None:
        until("it was told to end", lambda: leaver is not None and leaver.stdin is None)
        time.sleep(0.5)
        good(**more)(request, connection)

    server.token = slow
    leaver = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", LEAVER, server.url, str(folder / "token")],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until("it asks", lambda: server.asked > asked)
    assert leaver.stdin is not None
    leaver.stdin.close()
    leaver.stdin = None
    assert leaver.stderr is not None
    with leaver.stderr:
        assert leaver.stderr.read() == b""
    return leaver.wait(30)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_fetches_its_own(tmp_path: Path) -> None:
    with rogue(good()) as server:
        held = threading.Event()

        def slow(request: bytes, connection: Any) -> None:
            if server.asked == 1:
                held.wait(20)
            good()(request, connection)

        server.token = slow
        source = TokenSource(server.url, client_id="app")
        running = source.renew()
        until("it asks", lambda: server.asked == 1)
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            os.write(writing, json.dumps(source.get(10).access_token).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            assert json.loads(pipe.read()) == "token-1"
        os.waitpid(child, 0)
        held.set()
        assert running.result(10).access_token
        assert server.asked == 2

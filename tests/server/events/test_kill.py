# SPDX-License-Identifier: Apache-2.0
"""`kill -9` of the server in a loop while tokens and devices are revoked: no event lost or doubled.

The receiver is the real guard's: its file says what took effect, its audit how often.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from keyfob.guard.audit import Outcome
from keyfob.guard.events import EventSource
from keyfob.guard.http_app import guard_app
from keyfob.guard.key_sources import StaticKeySource
from keyfob.http.listen import Listen
from keyfob.http.serving import serving
from keyfob.server.events.receiver_register import ReceiverRegister
from keyfob.server.register import Register
from keyfob.server.stores.store import open_store
from keyfob.tokens.keys import KeySet
from keyfob.tokens.verify import unverified
from tests.free_ports import free_port
from tests.guard.events_world import AUDIENCE, World, receiving
from tests.guard.world import trusted
from tests.running import until
from tests.server.events.world import until as until_true

pytestmark = pytest.mark.anyio

# A short lease, so that a server that was started again delivers before it is killed again.
_SERVER = """
import sys
from pathlib import Path
from keyfob.server.events.deliveries import Deliveries
from keyfob.server.serve import Listen, serve
from keyfob.server.settings import ServerSettings

Deliveries.__init__.__kwdefaults__["lease"] = 0.2
port, database = int(sys.argv[1]), Path(sys.argv[2])
settings = ServerSettings(issuer=f"http://127.0.0.1:{port}", audience="mqtt", database=database)
serve(settings, Listen(port=port))
"""
_DISABLE = """
import sys
from pathlib import Path
from keyfob.server.register import Register

with Register.open(Path(sys.argv[1])) as register:
    for name in sys.argv[2:]:
        register.disable_device(name)
        print(name, flush=True)
"""


class Server:
    """The authorization server as a process; somebody keeps killing it."""

    def __init__(self, database: Path) -> None:
        self.database, self.port = database, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-c", _SERVER, str(self.port), str(self.database)]
        self.process = subprocess.Popen(command)
        until("it answers", self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/healthz").status_code == 200
        return False

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def kill_and_restart(self) -> None:
        self.kill()
        self._start()


@contextlib.contextmanager
def running(database: Path) -> Iterator[Server]:
    server = Server(database)
    try:
        yield server
    finally:
        server.kill()


async def token(http: httpx.AsyncClient, device: str, secret: str) -> str:
    form = {"grant_type": "client_credentials", "client_id": device, "client_secret": secret}
    answer = await http.post("/oauth2/token", data=form)
    access: str = answer.raise_for_status().json()["access_token"]
    return access


async def revoke_tokens(
    http: httpx.AsyncClient, devices: dict[str, tuple[str, str]], acknowledged: set[str]
) -> None:
    """Revoke one token after the other, again where no answer came; note what was answered."""
    for device, (secret, access) in devices.items():
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await http.post(
                    "/oauth2/revoke", data={"token": access}, auth=(device, secret)
                )
                assert answer.status_code == 200
                acknowledged.add(str(unverified(access)[1]["jti"]))
                break
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.01)


async def disable(database: Path, names: list[str]) -> set[str]:
    """Disable devices in a process of its own, and return which it acknowledged."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _DISABLE, str(database), *names), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return set(out.decode().split())


async def lose_nothing(folder: Path, *, kills: int, devices: int) -> None:
    database, dice = folder / "server.db", random.Random(kills)
    with Register.open(database) as register:
        secrets = {f"t{n}": register.add_device(f"t{n}").secret for n in range(devices)}
        for number in range(devices):
            register.add_device(f"d{number}")
    with running(database) as server:
        async with httpx.AsyncClient(base_url=server.url) as http:
            tokens = {name: (key, await token(http, name, key)) for name, key in secrets.items()}
            keys = StaticKeySource(KeySet.from_jwks((await http.get("/oauth2/jwks")).content))
            issuer = trusted(issuer=server.url, max_lifetime=86_400)
            source = EventSource(trusted=issuer, keys=keys, audience=AUDIENCE)
            async with (
                receiving(folder / "g.db", clock=time.time, more=lambda: {server.url: source}) as w,  # type: ignore[arg-type]
                serving(
                    guard_app(w.keeper.health, events=w.receiver),
                    Listen(port=(port := free_port())),
                ),
            ):
                with ReceiverRegister.open(database, None) as receivers:
                    url = f"http://127.0.0.1:{port}/events"
                    receivers.add("guard", url=url, audience=AUDIENCE)
                    acknowledged: set[str] = set()
                    names = [f"d{number}" for number in range(devices)]
                    work = asyncio.gather(
                        revoke_tokens(http, tokens, acknowledged), disable(database, names)
                    )
                    for _ in range(kills):
                        await asyncio.sleep(dice.random() * 0.8)
                        await asyncio.to_thread(server.kill_and_restart)
                    _, disabled = await work
                    await until_true(lambda: not receivers.status("guard")[1].pending)
                    rejected = receivers.status("guard")[1].rejected
                check(w, database, acknowledged, disabled)
                assert rejected == 0
    assert len(acknowledged) == len(disabled) == devices


def check(w: World, database: Path, acknowledged: set[str], disabled: set[str]) -> None:
    """Each acknowledged revocation holds at the guard, and each event took effect once."""
    store = open_store(database)
    rows = store.revocations_after(0, now=0, limit=100_000)
    store.close()
    taken = Counter(each.token_id for each in w.told() if each.outcome is Outcome.EVENT_ACCEPTED)
    assert set(taken.values()) == {1}, "never in effect twice"
    assert len(taken) == len(rows), "one event for each revocation, and no other"
    again = sum(each.reason == "replayed" for each in w.told())
    print(f"{len(taken)} events took effect once; {again} came again and had none")
    kept = tuple(w.keeper._revocations)
    assert acknowledged <= {each.token_id for each in kept}
    assert disabled <= {each.subject for each in kept}


async def test_kill_9_of_the_server_loses_and_doubles_no_event(tmp_path: Path) -> None:
    await lose_nothing(tmp_path, kills=3, devices=40)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_kill_9_of_the_server_a_hundred_times_loses_and_doubles_no_event(
    tmp_path: Path,
) -> None:
    await lose_nothing(tmp_path, kills=100, devices=2_000)

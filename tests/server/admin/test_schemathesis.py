# SPDX-License-Identifier: Apache-2.0
"""Schemathesis over the description: no server error, and every answer is as described.

The server is the real one, in a process of its own; the credentials are real, too. The long form
goes on from seed to seed, each with a new token.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from keyfob.server.admin.routes import OPERATIONS
from keyfob.server.admin_scopes import ADMIN_SCOPES, DEVICES_READ
from keyfob.server.events.receiver_register import ReceiverRegister
from keyfob.server.operator_register import OperatorRegister
from keyfob.server.register import Register
from keyfob.server.registration.initial_tokens import RegistrationTokens, Template
from keyfob.server.stores.store import open_store
from keyfob.server.wishes import DeviceWish, Rights
from tests.free_ports import free_port
from tests.running import until

HERE = Path(__file__).parent
SERVER = """
import sys
from pathlib import Path
from keyfob.server.serve import Listen, make_server
from keyfob.server.settings import ServerSettings

port = int(sys.argv[1])
settings = ServerSettings(
    issuer=f"http://127.0.0.1:{port}", audience="mqtt", database=Path(sys.argv[2]), limits=None
)
make_server(settings, Listen(port=port)).run()
"""
# What the description says and JSON Schema cannot: names that are reserved, keys that are none.
CONFIGURATION = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "413", "422"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "415", "422"]
"""


@dataclass
class Api:
    """A server, and what schemathesis asks it with."""

    url: str
    secret: str
    database: Path
    folder: Path

    def token(self) -> str:
        form = {"grant_type": "client_credentials"}
        answer = httpx.post(f"{self.url}/oauth2/token", data=form, auth=("ops", self.secret))
        token: str = answer.raise_for_status().json()["access_token"]
        return token

    def run(self, *, examples: int, seed: int, phases: str) -> tuple[int, int, str]:
        """Run once; return how many cases were made, how many passed, and the output."""
        configuration = self.folder / "schemathesis.toml"
        configuration.write_text(CONFIGURATION)
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(configuration)]
        command += ["run", f"{self.url}/admin/v1/openapi.json", "--no-color"]
        command += ["--header", f"Authorization: Bearer {self.token()}"]
        command += ["--max-examples", str(examples), "--seed", str(seed), "--phases", phases]
        command += ["--continue-on-failure", "--generation-database", "none"]
        environment = os.environ | {
            "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
            "PYTHONPATH": str(HERE),
        }
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        output = done.stdout + done.stderr
        found = re.search(r"(\d+) generated, (\d+) passed", output)
        assert found, output[-20_000:]
        assert done.returncode == 0, output[-20_000:]
        return int(found[1]), int(found[2]), output


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    database = tmp_path / "server.db"
    with Register.open(database) as register:
        _, secret = register.add_service("ops", scopes=ADMIN_SCOPES)
        for number in range(20):
            register.add_device(DeviceWish(f"dev{number}", rights=Rights(publish=["a/{device}"])))
            register.add_application(f"app{number}")
            register.add_service(f"svc{number}", scopes=[DEVICES_READ])
            register.fleet.add_group(f"group{number}", publish=["b/{device}"])
    store = open_store(database)
    tokens = RegistrationTokens(store)
    for number in range(20):
        tokens.add(f"line{number}", uses=1, seconds=60, template=Template())
    people, receivers = OperatorRegister(store), ReceiverRegister(store, None)
    for number in range(20):
        people.add(f"person{number}", None, openid_subject=f"subject{number}")
        receivers.add(f"hears{number}", url="https://[::1]:1/")
    store.close()
    port = free_port()
    log = (tmp_path / "server.log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port), str(database)], stdout=log, stderr=log
    )
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    until("the server answers", ready)
    yield Api(url, secret, database, tmp_path)
    server.terminate()
    server.wait(30)
    log.close()
    assert "Traceback" not in (tmp_path / "server.log").read_text(errors="replace")


def reached(api: Api) -> dict[tuple[str, str], int]:
    """What was done and refused, by the trail: whether schemathesis came past the door."""
    with sqlite3.connect(api.database) as connection:
        rows = connection.execute("SELECT action, result FROM admin_action WHERE actor = ?",
                                  ("service:ops",)).fetchall()  # fmt: skip
    connection.close()
    return {row: rows.count(row) for row in set(rows)}


def test_no_request_makes_a_server_error_or_an_answer_that_is_not_described(api: Api) -> None:
    made, passed, output = api.run(examples=3, seed=1, phases="examples,fuzzing")
    assert made == passed
    assert f"{len(OPERATIONS)} selected / {len(OPERATIONS)} total" in output
    done = {action for action, result in reached(api) if result == "done"}
    assert len(done) >= 8, done


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_no_request_of_many_does(api: Api) -> None:
    total = 0
    for seed in range(6):
        made, passed, _ = api.run(
            examples=60, seed=seed, phases="examples,coverage,fuzzing,stateful"
        )
        assert made == passed
        total += made
        print(f"seed {seed}: {made} cases, all passed")
    actions = reached(api)
    print(f"{total} cases; {sum(actions.values())} changes tried:")
    for (action, result), count in sorted(actions.items()):
        print(f"  {action:<28} {result:<16} {count}")
    done = {action for action, result in actions if result == "done"}
    assert len(done) >= 18

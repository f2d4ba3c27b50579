# SPDX-License-Identifier: Apache-2.0
"""What was answered outlives kill -9: each opaque token, and that each proof was used."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from keyfob.server.app import create_app
from keyfob.server.register import Register
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.place import Place
from tests.server.databases import written
from tests.server.world import ISSUER

# Gets one opaque token after the other with a proof each, and says which, once it is answered.
_WORK = """
import asyncio, json, sys, time
import httpx
from keyfob.server.app import create_app
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.place import place_of
from keyfob.tokens.sign import SigningKey
from tests.server.proofs import claims_for, signed

settings = ServerSettings(
    issuer=sys.argv[2], audience="mqtt", database=place_of(sys.argv[1]), limits=None,
    dpop_nonce="off", access_token_format="opaque",
)
form = {"grant_type": "client_credentials", "client_id": sys.argv[3], "client_secret": sys.argv[4]}

async def main():
    app = create_app(settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=sys.argv[2]) as http:
        for number in range(64):
            proof = signed(SigningKey.generate(), claims_for(time.time()))
            answer = await http.post("/oauth2/token", data=form, headers={"DPoP": proof})
            print(json.dumps([answer.json()["access_token"], proof]), flush=True)

asyncio.run(main())
"""


@pytest.mark.anyio
async def test_kill_9_while_tokens_are_issued_loses_none_that_was_answered_and_no_use(
    database: Place,
) -> None:
    with Register.open(database) as register:
        secrets = [register.add_device(f"dev{each}").secret for each in range(4)]
        _, asker = register.add_service("asker", scopes=["keyfob.introspection"])
    answered: list[tuple[str, str, str, str]] = []
    for each, secret in enumerate(secrets):
        for token, proof in killed_worker(database, f"dev{each}", secret):
            answered.append((f"dev{each}", secret, token, proof))
    assert 4 <= len(answered) < 4 * 64
    settings = ServerSettings(
        issuer=ISSUER, audience="mqtt", database=database, limits=None, dpop_nonce="off"
    )
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http,
    ):
        for name, secret, token, proof in answered:
            told = await http.post(
                "/oauth2/introspect", data={"token": token}, auth=("asker", asker)
            )
            assert told.json()["active"], name
            form = {"grant_type": "client_credentials"}
            headers = {"DPoP": proof}
            again = await http.post(
                "/oauth2/token", data=form, auth=(name, secret), headers=headers
            )
            assert again.json()["error"] == "invalid_dpop_proof"


def killed_worker(database: Place, name: str, secret: str) -> list[tuple[str, str]]:
    """Run a worker, kill it somewhere in the middle, and return what it was answered."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WORK, written(database), ISSUER, name, secret],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(random.randint(1, 40))]
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    lines += rest.split("\n")[:-1]
    return [(token, proof) for token, proof in map(json.loads, lines)]

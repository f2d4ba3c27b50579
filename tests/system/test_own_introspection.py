# SPDX-License-Identifier: Apache-2.0
"""One token revoked at Keyfob's own server: its session ends, and it is refused from then on.

Once with a guard that follows the feed, once with one that asks about every token (RFC 7662).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob.server.register import Register
from tests.running import NOT_AUTHORIZED, Installation, installation, until

ASKING = """
[issuer.introspection]
use = "always"
client_id = "asker"
client_secret = "file:asker.secret"
cache = 2
negative_cache = 1
reask = 2
"""


def post(up: Installation, path: str, who: str, **form: str) -> tuple[int, str]:
    """POST a form with curl, as the documentation says; the status and the body."""
    command = ["curl", "-sS", "--cacert", up.ca, "-u", who, "-w", "\n%{http_code}"]
    for name, value in form.items():
        command += ["-d", f"{name}={value}"]
    url = f"https://localhost:{up.settings.server.port}{path}"
    result = subprocess.run([*command, url], capture_output=True, text=True, timeout=30, check=True)
    body, _, status = result.stdout.rpartition("\n")
    return int(status), body


def enrolled(up: Installation, device: str) -> tuple[str, str, str]:
    """A device: how it authenticates, and two tokens of the same second or so."""
    secret = up.add_device(device, "--subscribe", "commands/{device}")
    return f"{device}:{secret}", up.token(device, secret), up.token(device, secret)


def test_curl_revokes_a_token_and_its_mosquitto_client_is_out(trusting: Installation) -> None:
    who, token, other = enrolled(trusting, "single")
    command = ["mosquitto_sub", "-V", "mqttv5", "-h", "localhost", "-p", str(trusting.port)]
    command += ["--cafile", trusting.ca, "-i", "single", "-u", "single", "-P", token, "-d"]
    live = subprocess.Popen(
        [*command, "-t", "commands/single"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until("it is in", lambda: ("allowed", "") in trusting.told("single"))
        assert post(trusting, "/oauth2/revoke", who, token=token) == (200, "")
        said, _ = live.communicate(timeout=30)
    finally:
        live.kill()
        live.wait()
    assert "Received DISCONNECT (152)" in said  # 0x98: administrative action
    until("revoked", lambda: ("revoked", "token_revoked") in trusting.told("single"))
    client = trusting.client("single")
    refused = trusting.connack(NOT_AUTHORIZED)
    assert client.try_connect("single", token) == refused
    trusting.wait_restarted("guard", trusting.kill("guard"))
    until("the guard is back", lambda: client.try_connect("single", other) == 0)
    assert client.try_connect("single", token) == refused
    until("it is shown", lambda: "revoked a token of single" in trusting.log())


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """`keyfob up` whose guard asks its own server about every token, and reads no feed."""
    directory = tmp_path_factory.mktemp("asking") / "data"
    directory.mkdir(mode=0o700)

    with installation(directory, configured=_asks) as up:
        yield up


def _asks(directory: Path) -> None:
    path = directory / "keyfob.toml"
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = "\n".join(line for line in lines if not line.startswith("revocation_"))
    head, mosquitto, rest = kept.partition("[mosquitto]")
    path.write_text(f"{head}{ASKING}\n{mosquitto}{rest}\n", encoding="utf-8")
    with Register.open(directory / "server.db") as register:
        _, secret = register.add_service("asker", scopes=["keyfob.introspection"])
    (directory / "asker.secret").touch(mode=0o600)
    (directory / "asker.secret").write_text(secret, encoding="utf-8")


def test_a_guard_that_asks_us_lets_in_ends_and_refuses_by_our_word(asking: Installation) -> None:
    secret = asking.add_device("asked", "--publish", "devices/{device}/#")
    token, other = asking.token("asked", secret), asking.token("asked", secret)
    client = asking.come_in("asked", token)
    assert client.publish("devices/asked/t") in {0, 0x10}
    assert client.publish("devices/other/t") == NOT_AUTHORIZED
    assert post(asking, "/oauth2/revoke", f"asked:{secret}", token=token) == (200, "")
    client.until_disconnected()
    until("the audit", lambda: ("revoked", "token_inactive") in asking.told("asked"))
    refused = asking.connack(NOT_AUTHORIZED)
    until("it is refused", lambda: asking.client("asked").try_connect("asked", token) == refused)
    asking.come_in("asked", other)


def test_curl_introspects_as_the_documentation_says(asking: Installation) -> None:
    token = asking.enrol("shown")
    who = f"asker:{(asking.directory / 'asker.secret').read_text()}"
    status, body = post(asking, "/oauth2/introspect", who, token=token)
    document = json.loads(body)
    assert (status, document["active"], document["sub"]) == (200, True, "shown")
    asking.disable("shown")
    assert post(asking, "/oauth2/introspect", who, token=token) == (200, '{"active":false}')
    status, body = post(asking, "/oauth2/introspect", f"asker:{token}", token=token)
    assert (status, json.loads(body)["error"]) == (401, "invalid_client")
    until("it is shown", lambda: "refused an introspection to asker" in asking.log())
    assert token not in asking.log()

# SPDX-License-Identifier: Apache-2.0
"""Opaque tokens of Keyfob's own server, with server, guard and Mosquitto as users run them.

The guard asks the server about them (RFC 7662), and follows the feed of revocations as for JWTs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob.cli.server_database import server_database
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.register import Register
from keyfob.server.wishes import DeviceWish
from tests.cli.commands import Shell
from tests.running import NOT_AUTHORIZED, Installation, installation, until
from tests.system.doctoring import Doctor
from tests.system.test_own_introspection import post

ASKING = """
[issuer.introspection]
client_id = "keyfob-asker"
client_secret = "file:asker.secret"
prefix = "kfa_"
cache = 2
negative_cache = 1
"""


@pytest.fixture(scope="module")
def opaque(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """`keyfob up` as docs/proof-of-possession.md configures it."""
    directory = tmp_path_factory.mktemp("opaque") / "data"
    directory.mkdir(mode=0o700)
    with installation(directory, configured=_configured) as up:
        yield up


def _configured(directory: Path) -> None:
    path = directory / "keyfob.toml"
    text = path.read_text(encoding="utf-8")
    text = text.replace("[server]\n", '[server]\naccess_token_format = "opaque"\n', 1)
    head, mosquitto, rest = text.partition("[mosquitto]")
    path.write_text(f"{head}{ASKING}\n{mosquitto}{rest}\n", encoding="utf-8")
    with Register.open(directory / "server.db") as register:
        _, secret = register.add_service("keyfob-asker", scopes=["keyfob.introspection"])
    (directory / "asker.secret").touch(mode=0o600)
    (directory / "asker.secret").write_text(secret, encoding="utf-8")


def test_an_opaque_token_connects_with_its_rights_and_is_out_when_it_is_revoked(
    opaque: Installation,
) -> None:
    secret = opaque.add_device("dev1", "--publish", "devices/{device}/#")
    token, other = opaque.token("dev1", secret), opaque.token("dev1", secret)
    assert token.startswith("kfa_")
    client = opaque.come_in("dev1", token)
    assert client.publish("devices/dev1/t") in {0, 0x10}
    assert client.publish("devices/other/t") == NOT_AUTHORIZED
    assert post(opaque, "/oauth2/revoke", f"dev1:{secret}", token=token) == (200, "")
    client.until_disconnected()
    until("the audit", lambda: ("revoked", "token_revoked") in opaque.told("dev1"))
    refused = opaque.connack(NOT_AUTHORIZED)
    until("it is refused", lambda: opaque.client("dev1").try_connect("dev1", token) == refused)
    opaque.come_in("dev1", other)
    assert token not in opaque.log()
    assert other not in opaque.log()


def test_mosquitto_pub_brings_one_and_a_disabled_devices_is_refused(opaque: Installation) -> None:
    token = opaque.device_token("dev2", "--publish", "devices/{device}/#")
    arguments = ["-t", "devices/dev2/t", "-m", "hello", "-q", "1"]

    def sent() -> bool:
        return opaque.mosquitto("mosquitto_pub", "dev2", token, *arguments).returncode == 0

    until("it is sent", sent)
    opaque.disable("dev2")
    until("it is refused", lambda: not sent())


def test_one_device_keeps_jwts_and_one_that_was_made_up_is_refused(opaque: Installation) -> None:
    token = opaque.device_token("dev3", "--jwt")
    assert token.count(".") == 2
    opaque.come_in("dev3", token)
    made_up = "kfa_" + "A" * 43
    refused = opaque.connack(NOT_AUTHORIZED)
    until("refused", lambda: opaque.client("dev4").try_connect("dev4", made_up) == refused)


def test_a_token_that_is_bound_to_a_key_is_no_bearers_at_the_broker(opaque: Installation) -> None:
    """Whoever has the token alone is refused: to take it would be the downgrade."""
    with Register.open(server_database(opaque.settings)) as register:
        bound = ClientMetadata(access_token_confirmation="symmetric")
        secret = register.add_device(DeviceWish("dev5", metadata=bound)).secret
    form = {"grant_type": "client_credentials", "client_id": "dev5", "client_secret": secret}
    answer = opaque.curl(form)
    assert answer["token_type"] == "PoP"
    assert answer["cnf"]["jwk"]["kty"] == "oct"
    client, token = opaque.client("dev5"), answer["access_token"]

    def told() -> bool:
        client.try_connect("dev5", token)
        return ("refused", "confirmation_unproven") in opaque.told("dev5")

    until("it is refused as unproven", told)
    asker = f"keyfob-asker:{(opaque.directory / 'asker.secret').read_text()}"
    status, body = post(opaque, "/oauth2/introspect", asker, token=token)
    assert (status, json.loads(body)["cnf"]) == (200, {"kid": answer["cnf"]["jwk"]["kid"]})


def test_doctor_says_what_nobody_can_know_of_an_opaque_token_and_tries_the_rest(
    opaque: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor = Doctor(Shell(capsys, opaque.directory), monkeypatch, opaque)
    doctor.device("sick", "--publish", "devices/sick/#")
    told = doctor.says("--client-id", "sick")
    assert "kfa_" not in str(told)
    assert told["token"]["kind"] == "opaque"
    assert told["token"]["publish"] == ["devices/sick/#"]
    assert "token_opaque" in {finding["code"] for finding in told["findings"]}
    assert told["broker"]["ways"]["password"] == "taken"
    assert told["broker"]["broken_token"]["password"].startswith("refused")

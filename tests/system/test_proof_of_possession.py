# SPDX-License-Identifier: Apache-2.0
"""Tokens that are bound to a key, from the token endpoint to Mosquitto, by `ace` and OAUTH2-DPOP.

Server, guard and broker run as users run them; tokens come by curl.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keyfob.cli.server_database import server_database
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.register import Register
from keyfob.server.wishes import DeviceWish
from tests.mqtt5 import AUTH, CONNACK, CONTINUE, REAUTHENTICATE, Client, Packet
from tests.prover import DeviceKey, ace_answer, ace_token, b64, dpop_proof, unb64
from tests.running import MOSQUITTO, NOT_AUTHORIZED, Installation, installation, until

# The server's tokens are JWTs and opaque ones; only a service with this may have their keys.
ASKING = """
[issuer.introspection]
client_id = "keyfob-asker"
client_secret = "file:asker.secret"
prefix = "kfa_"
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with proving(tmp_path_factory.mktemp("proof") / "data") as running:
        yield running


@contextlib.contextmanager
def proving(directory: Path, program: str = MOSQUITTO) -> Iterator[Installation]:
    """An installation whose guard may be told the keys of opaque tokens."""
    directory.mkdir(mode=0o700)
    with installation(directory, plain=True, configured=_configured, program=program) as running:
        yield running


def _configured(directory: Path) -> None:
    path = directory / "keyfob.toml"
    text = path.read_text(encoding="utf-8")
    text = text.replace("[server]\n", '[server]\ndpop_nonce = "off"\n', 1)
    head, mosquitto, rest = text.partition("[mosquitto]")
    path.write_text(f"{head}{ASKING}\n{mosquitto}{rest}\n", encoding="utf-8")
    scopes = ["keyfob.introspection", "keyfob.proof-keys"]
    with Register.open(directory / "server.db") as register:
        _, secret = register.add_service("keyfob-asker", scopes=scopes)
    (directory / "asker.secret").touch(mode=0o600)
    (directory / "asker.secret").write_text(secret, encoding="utf-8")


def form(up: Installation, device: str, **more: str) -> dict[str, str]:
    secret = up.add_device(device, "--publish", "devices/{device}/#")
    return {
        "grant_type": "client_credentials",
        "client_id": device,
        "client_secret": secret,
        **more,
    }


def by_dpop_header(up: Installation, key: DeviceKey) -> tuple[str, str]:
    """The header of a request for a token (RFC 9449)."""
    head = {"typ": "dpop+jwt", "alg": key.alg, "jwk": key.jwk}
    body = {
        "jti": secrets.token_hex(8),
        "htm": "POST",
        "htu": up.token_url,
        "iat": int(time.time()),
    }
    signed = ".".join(b64(json.dumps(part).encode()) for part in (head, body))
    return "-H", f"DPoP: {signed}.{b64(key.sign(signed.encode()))}"


def audience(token: str) -> str:
    aud = json.loads(unb64(token.split(".")[1]))["aud"]
    return str(aud if isinstance(aud, str) else aud[0])


def port(up: Installation) -> int:
    return int(up.settings.mosquitto.plain_port or 0)


def challenge(client: Client, data: bytes) -> bytes:
    """Connect, and return the broker's nonce."""
    answer = client.connect(data)
    assert answer is not None
    assert (answer.kind, answer.reason) == (AUTH, CONTINUE)
    return answer.data


def let_in(answer: Packet | None) -> bool:
    return answer is not None and answer.kind == CONNACK and answer.reason == 0


def refused(up: Installation, device: str, reason: str = "confirmation_unproven") -> None:
    until("the audit", lambda: ("refused", reason) in up.told(device))


@pytest.mark.parametrize("alg", ["EdDSA", "ES256"])
def test_ace_lets_in_who_has_the_key_that_was_asked_for_and_goes_on_with_the_next_token(
    up: Installation, alg: str
) -> None:
    device, key, thief = f"ace{alg.lower()}", DeviceKey.generate(alg), DeviceKey.generate(alg)
    wanted = form(up, device, req_cnf=json.dumps({"jwk": key.jwk}))
    answer = up.curl(wanted)
    assert answer["token_type"] == "PoP"
    token = ace_token(answer["access_token"])
    with Client(port(up), device, "ace") as client:
        nonce = challenge(client, token)
        assert len(nonce) == 8
        used = ace_answer(key, nonce, secrets.token_bytes(8))
        assert let_in(client.auth(CONTINUE, used))
        assert client.publish(f"devices/{device}/t") in {0, 0x10}
        assert client.publish("devices/other/t") == NOT_AUTHORIZED
        again = client.auth(REAUTHENTICATE, ace_token(up.curl(wanted)["access_token"]))
        assert again is not None
        assert (again.kind, again.reason) == (AUTH, CONTINUE)
        assert again.data != nonce
        done = client.auth(CONTINUE, ace_answer(key, again.data))
        assert done is not None
        assert (done.kind, done.reason) == (AUTH, 0)
        assert client.publish(f"devices/{device}/t") in {0, 0x10}
    with Client(port(up), device, "ace") as client:
        assert not let_in(client.auth(CONTINUE, ace_answer(thief, challenge(client, token))))
    with Client(port(up), device, "ace") as client:
        challenge(client, token)
        assert not let_in(client.auth(CONTINUE, used)), "a used answer"
    with Client(port(up), device, "ace") as one, Client(port(up), device, "ace") as other:
        nonce = challenge(one, token)
        challenge(other, token)
        assert not let_in(other.auth(CONTINUE, ace_answer(key, nonce))), "another's nonce"
    refused(up, device)


def test_ace_lets_in_by_a_symmetric_key_that_is_in_no_file_of_the_guard(up: Installation) -> None:
    with Register.open(server_database(up.settings)) as register:
        bound = ClientMetadata(access_token_confirmation="symmetric")
        secret = register.add_device(DeviceWish("small", metadata=bound)).secret
    answer: dict[str, Any] = up.curl(
        {"grant_type": "client_credentials", "client_id": "small", "client_secret": secret}
    )
    k = answer["cnf"]["jwk"]["k"]
    key, token = DeviceKey(unb64(k)), ace_token(answer["access_token"])

    def connected() -> bool:
        with Client(port(up), "small", "ace") as client:
            return let_in(client.auth(CONTINUE, ace_answer(key, challenge(client, token))))

    until("it is let in", connected)  # Mosquitto 2.0 cannot wait for an answer: come again
    with Client(port(up), "small", "ace") as client:
        wrong = ace_answer(DeviceKey(bytes(32)), challenge(client, token))
        assert not let_in(client.auth(CONTINUE, wrong))
    refused(up, "small")
    for path in up.directory.rglob("*"):
        if path.is_file():
            assert k.encode() not in path.read_bytes(), path
            assert unb64(k) not in path.read_bytes(), path


def test_a_proof_over_the_tls_exporter_is_refused_under_its_own_name(up: Installation) -> None:
    key = DeviceKey.generate()
    token = up.curl(form(up, "exporter", req_cnf=json.dumps({"jwk": key.jwk})))["access_token"]
    with Client(port(up), "exporter", "ace") as client:
        assert not let_in(client.connect(ace_token(token) + bytes(64)))
    refused(up, "exporter", "exporter_proof_unsupported")
    with Client(port(up), "exporter", None) as client:
        username = "ace" + b64(token.encode())
        assert not let_in(client.connect(username=username, password=b"\1" * 64))
    until(
        "the audit",
        lambda: up.told("exporter").count(("refused", "exporter_proof_unsupported")) == 2,
    )


@pytest.mark.parametrize("at_once", [True, False], ids=["token first", "nothing first"])
def test_oauth2_dpop_lets_in_who_has_the_key_of_the_token_endpoints_proof(
    up: Installation, at_once: bool
) -> None:
    device, key, thief = f"dpop{at_once:d}", DeviceKey.generate(), DeviceKey.generate()
    answer = up.curl(form(up, device), *by_dpop_header(up, key))
    assert answer["token_type"] == "DPoP"
    token = answer["access_token"]
    aud = audience(token)

    def begun(client: Client) -> bytes:
        return challenge(client, token.encode() if at_once else b"")

    def ended(client: Client, proof: bytes) -> bool:
        return let_in(client.auth(CONTINUE, proof if at_once else token.encode() + b" " + proof))

    with Client(port(up), device, "OAUTH2-DPOP") as client:
        used = dpop_proof(key, token, begun(client), device, aud=aud)
        assert ended(client, used)
        assert client.publish(f"devices/{device}/t") in {0, 0x10}
    with Client(port(up), device, "OAUTH2-DPOP") as client:
        begun(client)
        assert not ended(client, used), "a used proof"
    with Client(port(up), device, "OAUTH2-DPOP") as client:
        assert not ended(client, dpop_proof(thief, token, begun(client), device, aud=aud))
    for other in ("ace", "OAUTH2-JWT"):
        with Client(port(up), device, other) as client:
            sent = ace_token(token) if other == "ace" else token.encode()
            said = client.connect(sent)
            if other == "ace" and said is not None and said.kind == AUTH:
                said = client.auth(CONTINUE, ace_answer(key, said.data))
            assert not let_in(said), "another kind of proof, or none"
    refused(up, device)

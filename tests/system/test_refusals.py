# SPDX-License-Identifier: Apache-2.0
"""What must be refused is refused, each with its own reason, to the operator only."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from keyfob.cli.server_database import server_database
from keyfob.server.stores.store import open_store
from keyfob.tokens.sign import SigningKey
from tests.running import Installation, reasons, until

BAD_USERNAME_OR_PASSWORD, NOT_AUTHORIZED = 0x86, 0x87
# Mosquitto 2.0 has one code for every refusal; 2.1 says which.
REFUSED = {BAD_USERNAME_OR_PASSWORD, NOT_AUTHORIZED, 0x85}


@pytest.fixture(scope="module")
def key(running: Installation) -> SigningKey:
    """The server's own signing key: for tokens that only the server could make."""
    store = open_store(server_database(running.settings))
    try:
        return SigningKey.from_pem(store.keys.all()[0].private_key)
    finally:
        store.close()


@pytest.fixture(scope="module")
def device(running: Installation) -> str:
    running.add_device("forged", "--publish", "devices/{device}/#")
    return "forged"


def claims(running: Installation, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    values: dict[str, Any] = {
        "iss": running.settings.server.issuer,
        "sub": "forged",
        "client_id": "forged",
        "aud": "mqtt",
        "iat": now,
        "exp": now + 600,
        "jti": "a",
        "scope": "mqtt.connect mqtt.publish:devices/forged/#",
    }
    values.update(changes)
    return {name: value for name, value in values.items() if value is not None}


def expect_refused(
    running: Installation,
    username: str,
    password: str | None,
    reason: str,
    client_id: str = "forged",
) -> None:
    position = len(running.log())
    client = running.client(client_id)
    # A key that the guard has not seen makes it look again; until then it answers "unavailable".
    until("a refusal", lambda: client.try_connect(username, password) in REFUSED)
    until(f"{reason} in the output", lambda: reason in reasons(running.log()[position:]))


def explained(running: Installation, token: str, client_id: str = "forged") -> str:
    result = running.cli(
        "explain", "--json", "--token", "-", "--client-id", client_id,
        "publish", "devices/forged/t", stdin=token,
    )  # fmt: skip
    assert result.returncode == 1, result.stdout + result.stderr
    reason: str = json.loads(result.stdout)["reason"]
    return reason


def forgeries(running: Installation, key: SigningKey) -> Iterator[tuple[str, str]]:
    good = key.sign(claims(running))
    head, body, signature = good.split(".")
    flipped = ("B" if signature[10] != "B" else "C").join((signature[:10], signature[11:]))
    yield "signature_invalid", f"{head}.{body}.{flipped}"
    yield "key_unknown", SigningKey.generate("ES256").sign(claims(running))
    yield "issuer_unknown", key.sign(claims(running, iss="https://evil.example"))
    yield "audience_mismatch", key.sign(claims(running, aud="another"))
    yield "scope_missing", key.sign(claims(running, scope="mqtt.publish:devices/forged/#"))
    yield "token_expired", key.sign(claims(running, iat=1_000_000_000, exp=1_000_000_600))
    yield "token_malformed", "garbage"
    yield "token_too_long", "x" * 65_535


def test_every_forgery_has_its_own_reason_in_the_output_and_in_explain(
    running: Installation, key: SigningKey, device: str
) -> None:
    for reason, token in forgeries(running, key):
        expect_refused(running, device, token, reason)
        assert explained(running, token) == reason


def test_another_devices_client_identifier_is_refused(
    running: Installation, key: SigningKey, device: str
) -> None:
    token = key.sign(claims(running))
    expect_refused(running, "x", token, "client_id_mismatch", client_id="somebody-else")
    assert explained(running, token, "somebody-else") == "client_id_mismatch"


def test_tokens_in_both_fields_are_refused(running: Installation, key: SigningKey) -> None:
    token = key.sign(claims(running))
    expect_refused(running, token, token, "credentials_ambiguous")


def test_nothing_at_all_is_refused(running: Installation) -> None:
    expect_refused(running, "", "", "credentials_missing")
    position = len(running.log())
    assert running.client("forged").try_connect(None) in REFUSED
    until("a reason", lambda: "credentials_missing" in running.log()[position:])


def test_a_disabled_device_gets_no_token_and_its_old_one_is_refused(running: Installation) -> None:
    secret = running.add_device("retired", "--publish", "devices/{device}/#")
    token = running.token("retired", secret)
    client = running.client("retired").connect(token)
    assert running.cli("device", "disable", "retired").returncode == 0
    client.until_disconnected()
    answer = running.curl(
        {"grant_type": "client_credentials", "client_id": "retired", "client_secret": secret}
    )
    assert answer["error"] == "invalid_client"
    expect_refused(running, "retired", token, "token_revoked", client_id="retired")
    assert explained(running, token, "retired") == "token_revoked"
    assert running.cli("device", "enable", "retired").returncode == 0
    expect_refused(running, "retired", token, "token_revoked", client_id="retired")
    running.client("retired").connect(running.token("retired", secret))


def test_a_wrong_secret_and_an_unknown_device_get_the_same_answer(running: Installation) -> None:
    form = {"grant_type": "client_credentials", "client_id": "forged", "client_secret": "wrong"}
    wrong = running.curl(form)
    unknown = running.curl(form | {"client_id": "nobody"})
    assert wrong == unknown
    assert wrong["error"] == "invalid_client"

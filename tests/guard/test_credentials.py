# SPDX-License-Identifier: Apache-2.0
"""One field carries the token, and it is found without a guess that could be wrong."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.decision import ConnectRequest, DenyReason
from keyfob.guard.credentials import choose_token, has_token_shape
from tests.guard.world import mint

TOKEN = mint().encode()
OTHER = mint("dev2").encode()
EXPORTER = DenyReason.EXPORTER_PROOF_UNSUPPORTED
AMBIGUOUS, MISSING = DenyReason.CREDENTIALS_AMBIGUOUS, DenyReason.CREDENTIALS_MISSING


def chosen(
    username: bytes | None, password: bytes | None, fields: Any = ("password", "username")
) -> bytes | DenyReason:
    request = ConnectRequest(client_id="dev1", username=username, password=password)
    return choose_token(request, fields)


@pytest.mark.parametrize(
    ("username", "password", "expected"),
    [
        (TOKEN, b"", TOKEN),
        (TOKEN, None, TOKEN),
        (b"dev1", TOKEN, TOKEN),
        (None, TOKEN, TOKEN),
        (TOKEN, b"unused", TOKEN),
        (b"sensor.plant.eu", TOKEN, TOKEN),
        (b"edge.plant.eu", TOKEN, TOKEN),
        (TOKEN, TOKEN, AMBIGUOUS),
        (TOKEN, OTHER, AMBIGUOUS),
        (b"eyJhbGciOiJub25lIn0.e30.", TOKEN, AMBIGUOUS),
        (None, None, MISSING),
        (b"", b"", MISSING),
        (b"", None, MISSING),
        (b"dev1", b"secret", b"secret"),
        (b"dev1", b"", b"dev1"),
        (b"dev1", b"x" * 65_535, b"x" * 65_535),
        (b"dev1", TOKEN + b"\n", TOKEN + b"\n"),
        (b"dev1", TOKEN + b".a.b", TOKEN + b".a.b"),
        (b"\xff\x00", None, b"\xff\x00"),
    ],
)
def test_the_field_that_looks_like_a_token_is_it(
    username: bytes | None, password: bytes | None, expected: bytes | DenyReason
) -> None:
    assert chosen(username, password) == expected


@pytest.mark.parametrize(
    ("username", "password", "fields", "expected"),
    [
        (TOKEN, b"", ("password",), MISSING),
        (TOKEN, b"secret", ("password",), b"secret"),
        (b"dev1", TOKEN, ("username",), b"dev1"),
        (b"", TOKEN, ("username",), MISSING),
        (TOKEN, b"", ("username",), TOKEN),
        (TOKEN, OTHER, ("username",), AMBIGUOUS),
        (TOKEN, OTHER, ("password",), AMBIGUOUS),
    ],
)
def test_only_configured_fields_count(
    username: bytes, password: bytes, fields: Any, expected: bytes | DenyReason
) -> None:
    assert chosen(username, password, fields) == expected


def encoded(token: bytes) -> bytes:
    return base64.urlsafe_b64encode(token).rstrip(b"=")


OPAQUE = b"kfa_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


@pytest.mark.attack("J18", "exporter_proof_unsupported")
@pytest.mark.parametrize("password", [b"\x00\xff" * 16, b"", None, TOKEN])
@pytest.mark.parametrize("rest", [encoded(TOKEN), TOKEN, encoded(OPAQUE)])
def test_aces_username_of_mqtt_3_1_1_is_refused_under_its_own_name(
    rest: bytes, password: bytes | None
) -> None:
    """RFC 9431 section 6.1: the password is a proof over a TLS exporter, which never gets here."""
    assert EXPORTER == "exporter_proof_unsupported"
    assert chosen(b"ace" + rest, password) is EXPORTER
    assert chosen(b"ace" + rest, password, ("password",)) is EXPORTER


@pytest.mark.parametrize(
    "username",
    [
        b"ace",
        b"acetone",
        b"ace-of-spades-in-plant-seven-of-berlin",
        b"ace0123456789",
        b"ACE" + encoded(TOKEN),
        b"ace." + encoded(TOKEN),
        b"ace" + encoded(OPAQUE) + b"=",
        b"ace" + encoded(b"two words that no token is"),
    ],
)
def test_a_name_that_only_begins_so_is_a_name(username: bytes) -> None:
    assert chosen(username, TOKEN) == TOKEN


def test_a_credential_has_the_shape_of_a_token_where_the_vectors_say_so() -> None:
    """vectors/credentials.json: the plugin for Mosquitto gives the same answers."""
    path = Path(__file__).parents[2] / "vectors" / "credentials.json"
    vectors = json.loads(path.read_text(encoding="utf-8"))["credentials"]
    wrong = [v for v in vectors if has_token_shape(v["text"].encode()) is not v["jws"]]
    assert wrong == []

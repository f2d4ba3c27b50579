# SPDX-License-Identifier: Apache-2.0
"""What `ace` and OAUTH2-DPOP say, by the shared vectors' rules and the guard's own check."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.device import Token
from keyfob.device.clock import Moment
from keyfob.device.methods import answered, begun
from keyfob.device.proving import ace, oauth2_dpop, req_cnf
from keyfob.errors import ConfigError, ProtocolError
from keyfob.tokens.sign import SigningKey
from tests.prover import DeviceKey, ath, unb64

EDDSA, ES256, RS256 = (SigningKey.generate(alg) for alg in ("EdDSA", "ES256", "RS256"))
TEXT = "kfa_0123456789"


def token(**changes: Any) -> Token:
    values: dict[str, Any] = {
        "access_token": TEXT,
        "token_type": "PoP",
        "scope": "",
        "lifetime": 60.0,
        "obtained": Moment(boot="", elapsed=0, wall=0),
    }
    return Token(**(values | changes))


def test_ace_sends_its_token_behind_its_length_and_two_nonces_under_the_key() -> None:
    key = b"k" * 32
    exchange, data = begun(ace(), token(proof_key=key))
    assert data == b"\x00\x0e" + TEXT.encode()
    first, second = (answered(exchange, b"12345678") for _ in range(2))
    assert first[:8] != second[:8], "a nonce of the client's is used once"
    assert first[8:] == DeviceKey(key).sign(b"12345678" + first[:8])


@pytest.mark.parametrize("key", [EDDSA, ES256], ids=["EdDSA", "ES256"])
def test_ace_signs_with_a_key_of_the_device_whatever_came_with_the_token(key: SigningKey) -> None:
    exchange, _ = begun(ace(key), token(proof_key=b"k" * 32))
    assert len(answered(exchange, b"12345678")) == 8 + 64
    asked = json.loads(req_cnf(key)["req_cnf"])
    assert set(asked) == {"jwk"}
    assert set(asked["jwk"]) <= {"kty", "crv", "x", "y"}, "more than makes a public key"


def test_ace_has_no_proof_by_rsa_and_says_so_before_anything_is_asked_for() -> None:
    for call in (req_cnf, ace):
        with pytest.raises(ConfigError, match="RS256"):
            call(RS256)


def test_a_token_without_a_key_cannot_be_proven() -> None:
    with pytest.raises(ProtocolError, match="without a key"):
        begun(ace(), token())


@pytest.mark.parametrize("key", [EDDSA, ES256, RS256], ids=["EdDSA", "ES256", "RS256"])
def test_a_dpop_proof_is_about_this_token_broker_client_and_nonce(key: SigningKey) -> None:
    exchange, data = begun(oauth2_dpop(key, client_id="dev1", audience="aud"), token())
    assert data == TEXT.encode()
    head, claims = (
        json.loads(unb64(part)) for part in answered(exchange, b"n0nce").decode().split(".")[:2]
    )
    assert head["typ"] == "dpop-mqtt+jwt"
    assert set(head["jwk"]) <= {"kty", "crv", "x", "y", "n", "e"}
    told = {name: claims[name] for name in ("nonce", "ath", "aud", "mqtt_client_id")}
    assert told == {"nonce": "n0nce", "ath": ath(TEXT), "aud": "aud", "mqtt_client_id": "dev1"}


@given(st.binary(max_size=2000))
def test_whatever_a_broker_asks_is_answered_or_named(data: bytes) -> None:
    for method in (ace(EDDSA), oauth2_dpop(EDDSA, client_id="dev1")):
        exchange, _ = begun(method, token())
        with contextlib.suppress(ProtocolError):
            assert answered(exchange, data)


def test_nothing_that_is_shown_holds_a_key() -> None:
    made = token(proof_key=b"the-key-that-nobody-may-see-at-all")
    assert "the-key" not in repr(made) + str(made)

# SPDX-License-Identifier: Apache-2.0
"""A symmetric proof key is told by introspection alone, and stands nowhere afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from keyfob.errors import ClaimError
from keyfob.tokens.verify import TrustedIssuer, VerifiedToken, reverify, verify_introspected
from tests.prover import DeviceKey, b64

SECRET = bytes(range(32))
JWK = {"kty": "oct", "kid": "k1", "alg": "HS256", "k": b64(SECRET)}


@pytest.fixture
def told(
    claims: dict[str, Any], issuer: TrustedIssuer, now: float
) -> Callable[[dict[str, Any]], VerifiedToken]:
    """What becomes of an answer with this ``cnf``."""
    return lambda cnf: verify_introspected({**claims, "cnf": cnf}, issuer, now)


def test_the_key_verifies_and_no_claim_payload_or_repr_has_it(
    told: Callable[[dict[str, Any]], VerifiedToken],
) -> None:
    token = told({"jwk": JWK})
    assert token.proof_key is not None
    assert token.proof_key.verify(b"x", DeviceKey(SECRET).sign(b"x"))
    assert not token.proof_key.verify(b"y", DeviceKey(SECRET).sign(b"x"))
    assert not token.proof_key.verify(b"x", DeviceKey(SECRET).sign(b"x")[:-1])
    shown = f"{token!r}{token.claims.members!r}{token.payload!r}{token.proof_key!r}"
    assert b64(SECRET) not in shown
    assert repr(SECRET)[2:-1] not in shown
    assert json.loads(token.payload)["cnf"] == {"jwk": {"kty": "oct", "kid": "k1", "alg": "HS256"}}


def test_a_session_is_decided_again_without_its_key(
    told: Callable[[dict[str, Any]], VerifiedToken], issuer: TrustedIssuer, now: float
) -> None:
    token = told({"jwk": JWK})
    again = reverify(token.payload, {issuer.issuer: issuer}, now, key_id="", introspected=True)
    assert (again.device, again.proof_key) == ("dev1", None)
    assert again.claims.confirmation == token.claims.confirmation


@pytest.mark.parametrize(
    "changes",
    [
        {"k": b64(SECRET[:31])},
        {"k": b64(SECRET * 2 + b"x")},
        {"k": b64(SECRET) + "="},
        {"k": "\u00e9" * 43},
        {"k": 1},
        {"k": None},
        {"alg": "HS512"},
        {"alg": "none"},
        {"alg": None},
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"kid": 1},
        {"kid": "x" * 257},
        {"kid": "a\nb"},
        {"kty": "EC"},
        {"kty": None},
        {"d": "AA"},
    ],
)
@pytest.mark.attack("J18", "confirmation_unproven")
def test_a_secret_that_is_no_key_for_hs256_refuses_the_token(
    changes: dict[str, Any], told: Callable[[dict[str, Any]], VerifiedToken]
) -> None:
    with pytest.raises(ClaimError) as caught:
        told({"jwk": {**JWK, **changes}})
    assert caught.value.code == "confirmation_unproven"
    assert b64(SECRET) not in str(caught.value)


@pytest.mark.parametrize("member", ["k", "d", "p", "q", "dp", "dq", "qi", "oth"])
@pytest.mark.attack("J18", "confirmation_unproven")
def test_a_jwt_that_tells_a_secret_is_refused_as_it_is_verified(
    member: str,
    claims: dict[str, Any],
    forge: Callable[..., str],
    refused: Callable[..., str],
) -> None:
    for jwk in ({**DeviceKey.generate().jwk, member: "AA"}, {"kty": "oct", member: b64(SECRET)}):
        assert refused(forge({**claims, "cnf": {"jwk": jwk}})) == "confirmation_unproven"


@pytest.mark.parametrize("cnf", [{"jwk": []}, {"jwk": "k"}, {"kid": "k"}, {"k": "x"}])
def test_what_is_no_key_is_left_to_whoever_checks_the_proof(
    cnf: dict[str, Any], told: Callable[[dict[str, Any]], VerifiedToken]
) -> None:
    token = told(cnf)
    assert (token.proof_key, token.claims.confirmation) == (None, cnf)

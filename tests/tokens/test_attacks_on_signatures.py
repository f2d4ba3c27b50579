# SPDX-License-Identifier: Apache-2.0
"""Attacks on algorithm, key and signature, each refused with its own code.

Unless the attack is on the signature itself, the token is signed with the issuer's own key, so
that nothing but the rule under test can refuse it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import utils

from keyfob.tokens import base64url
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import NeedKeys, TrustedIssuer, VerifiedToken

Forge = Callable[..., str]
Accepted = Callable[..., VerifiedToken]
Refused = Callable[..., str]
Claims = dict[str, Any]

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def _with_signature(token: str, signature: bytes) -> str:
    return token.rpartition(".")[0] + "." + base64url.encode(signature).decode()


def _raw(claims: Claims, *members: str) -> bytes:
    """The claims' JSON with members appended as text, whatever they do to it."""
    return (json.dumps(claims)[:-1] + "".join("," + member for member in members) + "}").encode()


# --- the algorithm ---


@pytest.mark.attack("J1", "algorithm_refused")
@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", " none", "none\0", "HS256", "es256"]
)
def test_alg_none_in_every_spelling_and_other_unlisted_algorithms(
    alg: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    signed = forge(claims, {"alg": alg})
    assert refused(signed) == "algorithm_refused"
    assert refused(_with_signature(signed, b"")) == "algorithm_refused"


@pytest.mark.attack("J1", "token_malformed")
@pytest.mark.parametrize("alg", [None, "", ["ES256"], {"ES256": 1}, 1, True])
def test_alg_missing_or_no_text(alg: Any, claims: Claims, forge: Forge, refused: Refused) -> None:
    header = {"alg": alg, "typ": "at+jwt"}
    if alg is None:
        del header["alg"]
    assert refused(forge(claims, json.dumps(header).encode())) == "token_malformed"


# --- keys that the token brings along ---


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def _attacker_header(key: SigningKey, listener: socket.socket) -> dict[str, Any]:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/jwks.json"
    return {
        "jwk": key.public_jwk(),
        "jku": url,
        "x5u": url,
        "x5c": [base64.b64encode(b"certificate").decode()],
    }


@pytest.mark.attack("J3", "signature_invalid", "key_unknown")
@pytest.mark.attack("J4", "signature_invalid", "key_unknown")
@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
def test_a_key_in_or_named_by_the_header_is_never_used_or_fetched(
    *,
    name: str,
    claims: Claims,
    forge: Forge,
    refused: Refused,
    attempt: Callable[..., Any],
    accepted: Accepted,
    listener: socket.socket,
) -> None:
    attacker = SigningKey.generate()
    header = {name: _attacker_header(attacker, listener)[name]}
    assert refused(forge(claims, header, sign=attacker.signature)) == "signature_invalid"
    own_kid = forge(claims, {**header, "kid": attacker.kid}, sign=attacker.signature)
    needed = attempt(own_kid)
    assert isinstance(needed, NeedKeys)
    assert needed.refusal().code == "key_unknown"
    assert isinstance(attempt(own_kid, keys=None), NeedKeys)  # CVE-2026-27962: no key of ours yet
    accepted(forge(claims, header))
    with contextlib.suppress(BlockingIOError):
        listener.accept()
        pytest.fail("somebody connected to the address in the header")


@pytest.mark.attack("J5", "key_unknown")
@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "x' UNION SELECT '1';--",
        "|sleep 10",
        "\0",
        "k" * 256,
        "{device}",
    ],
)
def test_a_kid_is_only_ever_compared(
    kid: str, claims: Claims, forge: Forge, attempt: Callable[..., Any]
) -> None:
    needed = attempt(forge(claims, {"kid": kid}, sign=lambda _: b""))
    assert isinstance(needed, NeedKeys)
    assert needed.refusal().code == "key_unknown"


@pytest.mark.attack("J5", "token_malformed")
@pytest.mark.parametrize("kid", ["", 1, ["k"], {"k": 1}, False, "k" * 257])
def test_a_kid_that_is_empty_overlong_or_no_text(
    kid: Any, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge(claims, {"kid": kid})) == "token_malformed"


@pytest.mark.attack("J5", "token_too_long")
def test_a_kid_of_64_kilobytes(claims: Claims, forge: Forge, refused: Refused) -> None:
    assert refused(forge(claims, {"kid": "k" * 65_536})) == "token_too_long"
    assert refused(forge(claims, {"kid": "k" * 8_192})) == "token_too_long"


# --- the signature ---


@pytest.mark.attack("J6", "signature_invalid")
@pytest.mark.parametrize(
    ("r", "s"),
    [(0, 0), (0, 1), (1, 0), (_ORDER, _ORDER), (_ORDER, 1), (_ORDER - 1, _ORDER - 1), (1, 1)],
)
def test_psychic_signatures(r: int, s: int, claims: Claims, forge: Forge, refused: Refused) -> None:
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert refused(_with_signature(forge(claims), signature)) == "signature_invalid"


@pytest.mark.attack("J6", "signature_invalid")
def test_a_signature_in_der_or_with_zeros_around_it(
    claims: Claims, forge: Forge, refused: Refused
) -> None:
    token = forge(claims)
    raw = base64url.decode(token.rpartition(".")[2].encode())
    r, s = raw[:32], raw[32:]
    der = utils.encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    for signature in (
        b"",
        der,
        raw + b"\0",
        b"\0" + raw,
        b"\0" + r + b"\0" + s,
        r + b"\0" + s,
        r,
        raw + raw,
    ):
        assert refused(_with_signature(token, signature)) == "signature_invalid"


def test_a_signature_of_another_token(claims: Claims, forge: Forge, refused: Refused) -> None:
    other = forge({**claims, "sub": "dev2"})
    swapped = forge(claims).rpartition(".")[0] + "." + other.rpartition(".")[2]
    assert refused(swapped) == "signature_invalid"


# --- keys that should not be ---


@pytest.mark.attack("J15", "key_refused")
@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": ["encrypt"]},
        {"d": "AA"},
        {"alg": "ES384"},
        {"alg": "ECDH-ES"},
        {"crv": "P-384"},
        {"kty": "oct", "k": "AA"},
    ],
)
def test_a_token_of_a_key_that_is_unfit(
    change: dict[str, Any], claims: Claims, forge: Forge, refused: Refused, signing_key: SigningKey
) -> None:
    keys = KeySet.from_jwks({"keys": [{**signing_key.public_jwk(), **change}]})
    assert refused(forge(claims), keys=keys) == "key_refused"


@pytest.mark.attack("J15", "key_refused")
def test_a_token_of_a_kid_that_two_keys_share(
    claims: Claims, forge: Forge, refused: Refused, signing_key: SigningKey
) -> None:
    other = {**SigningKey.generate().public_jwk(), "kid": signing_key.kid}
    keys = KeySet.from_jwks({"keys": [signing_key.public_jwk(), other]})
    assert refused(forge(claims), keys=keys) == "key_refused"


@pytest.mark.attack("J15", "algorithm_refused", "key_refused")
def test_a_shared_secret_beside_the_public_keys_is_not_used(
    *,
    claims: Claims,
    forge: Forge,
    issuer: TrustedIssuer,
    accepted: Accepted,
    refused: Refused,
    signing_key: SigningKey,
) -> None:
    secret = b"k" * 32
    oct_key = {"kty": "oct", "k": base64url.encode(secret).decode(), "kid": "s", "alg": "HS256"}
    keys = KeySet.from_jwks({"keys": [oct_key, signing_key.public_jwk()]})
    accepted(forge(claims), keys=keys)

    def mac(data: bytes) -> bytes:
        return hmac.new(secret, data, hashlib.sha256).digest()

    symmetric = forge(claims, {"alg": "HS256", "kid": "s"}, sign=mac)
    assert refused(symmetric, keys=keys) == "algorithm_refused"
    assert refused(forge(claims, {"kid": "s"}, sign=mac), keys=keys) == "key_refused"

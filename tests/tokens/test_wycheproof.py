# SPDX-License-Identifier: Apache-2.0
"""Project Wycheproof's vectors, read from a checkout: ``KEYFOB_WYCHEPROOF`` names the folder.

They are somebody else's work, so this repository holds none of them. Every outcome here was
compared with commit dac1dd4729fd1f8dd9e1e9f3dce51d783da6c166 of github.com/C2SP/wycheproof.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from keyfob.errors import TokenError
from keyfob.tokens import base64url
from keyfob.tokens.jws import parse_compact
from keyfob.tokens.keys import KeySet

_FOLDER = os.environ.get("KEYFOB_WYCHEPROOF", "")
if not _FOLDER:
    pytest.skip(
        "Wycheproof's vectors did NOT run. Clone https://github.com/C2SP/wycheproof and set"
        " KEYFOB_WYCHEPROOF=<clone>/testvectors_v1",
        allow_module_level=True,
    )

_JWS = "json_web_signature_test.json"
_JWK = "json_web_key_test.json"
_RS256 = "rsa_signature_2048_sha256_test.json"
_RAW = (
    "ecdsa_secp256r1_sha256_p1363_test.json",
    "ed25519_test.json",
    "rsa_pss_2048_sha256_mgf1_32_test.json",
    _RS256,
)

# Valid there, refused here: by file and tcId.
_STRICTER = {
    (_JWS, 346): "the key says PS256, the token PS384: one key, one algorithm",
    (_JWS, 350): "the key says PS256, the token PS384: one key, one algorithm",
    (_RS256, 258): "a key with e=3 (FIPS 186-5 section A.1.1 wants more than 2**16)",
    (_RS256, 259): "a key with e=3 (FIPS 186-5 section A.1.1 wants more than 2**16)",
}

_Group = Mapping[str, Any]
_Key = Mapping[str, Any]


def _groups(name: str) -> list[_Group]:
    document = json.loads((Path(_FOLDER) / name).read_text(encoding="utf-8"))
    groups: list[_Group] = document["testGroups"]
    assert sum(len(group["tests"]) for group in groups) == document["numberOfTests"] > 0
    return groups


def _keys(group: _Group) -> list[_Key]:
    """A group's public keys; some groups tell the private ones only."""
    key = group.get("public") or group["private"]
    return [
        {name: value for name, value in each.items() if name != "d"}
        for each in key.get("keys", [key])
    ]


def _is_ours(key: _Key) -> bool:
    """Say whether Keyfob has an algorithm for such a key, or the vector is about a wrong one."""
    return (
        key["kty"] != "oct"
        and key.get("alg") not in {"RS384", "RS512", "PS384", "PS512"}
        and key.get("crv") != "P-521"
    )


def _params(name: str, *, ours: bool) -> Iterator[Any]:
    for group in _groups(name):
        keys = _keys(group)
        if any(map(_is_ours, keys)) is ours:
            for vector in group["tests"]:
                yield pytest.param(
                    name, keys, vector, id=f"{name[:-10]}-{vector['tcId']}-{vector['comment']}"
                )


def _raw_key(group: _Group) -> _Key:
    """A group's key as a JWK; the newest groups, of ECDSA, give the point only."""
    jwk: _Key | None = group.get("publicKeyJwk") or group.get("keyJwk")
    if jwk is None:
        point = bytes.fromhex(group["publicKey"]["uncompressed"])
        x, y = (base64url.encode(octets).decode() for octets in (point[1:33], point[33:]))
        jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    return jwk


def _raw_params(name: str) -> Iterator[Any]:
    for group in _groups(name):
        jwk = _raw_key(group)
        for vector in group["tests"]:
            yield pytest.param(name, jwk, vector, id=f"{name[:-10]}-{vector['tcId']}")


def _expected(name: str, vector: Mapping[str, Any]) -> bool:
    """``acceptable`` is what a lenient implementation does, so not this one."""
    return vector["result"] == "valid" and (name, vector["tcId"]) not in _STRICTER


def _verifies(keys: list[_Key], token: str) -> bool:
    try:
        parsed = parse_compact(token)
    except TokenError:
        return False
    candidates = KeySet.from_jwks({"keys": keys}).find(parsed.header.kid, parsed.header.alg)
    return any(key.verify(parsed.signing_input, parsed.signature) for key in candidates)


@pytest.mark.attack("J1")
@pytest.mark.attack("J3")
@pytest.mark.attack("J13")
@pytest.mark.attack("J15")
@pytest.mark.parametrize(
    ("name", "keys", "vector"), [*_params(_JWS, ours=True), *_params(_JWK, ours=True)]
)
def test_a_token_verifies_where_wycheproof_says_so(
    name: str, keys: list[_Key], vector: Mapping[str, Any]
) -> None:
    assert _verifies(keys, vector["jws"]) is _expected(name, vector)


@pytest.mark.attack("J2")
@pytest.mark.parametrize(
    ("name", "keys", "vector"), [*_params(_JWS, ours=False), *_params(_JWK, ours=False)]
)
def test_a_token_of_another_algorithm_never_verifies(
    name: str, keys: list[_Key], vector: Mapping[str, Any]
) -> None:
    assert _verifies(keys, vector["jws"]) is False


@pytest.mark.attack("J6")
@pytest.mark.attack("J16")
@pytest.mark.parametrize(
    ("name", "jwk", "vector"), [param for name in _RAW for param in _raw_params(name)]
)
def test_a_signature_verifies_where_wycheproof_says_so(
    name: str, jwk: _Key, vector: Mapping[str, Any]
) -> None:
    data, signature = bytes.fromhex(vector["msg"]), bytes.fromhex(vector["sig"])
    outcome = any(key.verify(data, signature) for key in KeySet.from_jwks({"keys": [jwk]}).keys)
    assert outcome is _expected(name, vector)


def test_every_expected_difference_is_still_one() -> None:
    valid = {
        (name, vector["tcId"])
        for name in (_JWS, _JWK, *_RAW)
        for group in _groups(name)
        for vector in group["tests"]
        if vector["result"] == "valid"
    }
    assert valid >= set(_STRICTER)

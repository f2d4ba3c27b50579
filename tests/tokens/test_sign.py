# SPDX-License-Identifier: Apache-2.0
"""A signing key signs, travels as PEM, and never shows itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519

from keyfob.errors import ConfigError
from keyfob.tokens.jws import parse_compact
from keyfob.tokens.keys import ALGORITHMS, KeySet, thumbprint
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import VerifiedToken, unverified


def _pem(private: Any) -> bytes:
    pem: bytes = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem


def test_a_token_holds_exactly_the_claims_and_names_its_key(
    signing_key: SigningKey, claims: dict[str, Any]
) -> None:
    header, payload = unverified(signing_key.sign(claims))
    assert header == {"alg": "ES256", "kid": signing_key.kid, "typ": "at+jwt"}
    assert payload == claims


def test_a_token_is_signed_for_the_verifier(
    signing_key: SigningKey, claims: dict[str, Any], accepted: Callable[..., VerifiedToken]
) -> None:
    token = accepted(signing_key.sign(claims))
    assert (token.device, token.key_id) == ("dev1", signing_key.kid)


def test_another_type_is_said_in_the_header(signing_key: SigningKey) -> None:
    header, _ = unverified(signing_key.sign({"x": 1}, typ="token-introspection+jwt"))
    assert header["typ"] == "token-introspection+jwt"


def test_texts_of_every_script_survive(signing_key: SigningKey) -> None:
    text = 'é設備😀"\\\n\u2028'
    assert unverified(signing_key.sign({"sub": text}))[1] == {"sub": text}


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_the_public_jwk_is_fit_for_a_key_set_and_holds_nothing_private(
    alg: str, signing_keys: Mapping[str, SigningKey]
) -> None:
    jwk = signing_keys[alg].public_jwk()
    assert set(jwk) <= {"kty", "crv", "x", "y", "n", "e", "use", "alg", "kid"}
    (key,) = KeySet.from_jwks({"keys": [jwk]}).keys
    assert key.kid == key.thumbprint == thumbprint(jwk) == signing_keys[alg].kid
    assert (jwk["use"], jwk["alg"]) == ("sig", alg)


@pytest.mark.parametrize("password", [None, b"a long enough password"])
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_pem_is_pkcs_8_and_comes_back_as_the_same_key(
    alg: str, password: bytes | None, signing_keys: Mapping[str, SigningKey]
) -> None:
    pem = signing_keys[alg].to_pem(password)
    kind = b"ENCRYPTED PRIVATE KEY" if password else b"PRIVATE KEY"
    assert pem.startswith(b"-----BEGIN " + kind + b"-----")
    again = SigningKey.from_pem(pem, alg=alg, password=password)
    assert (again.alg, again.kid) == (alg, signing_keys[alg].kid)
    key = KeySet.from_jwks({"keys": [signing_keys[alg].public_jwk()]}).keys[0]
    assert key.verify(b"x", again.signature(b"x"))


def test_the_algorithm_follows_from_the_type_of_key(
    signing_keys: Mapping[str, SigningKey],
) -> None:
    found = [
        SigningKey.from_pem(signing_keys[alg].to_pem()).alg for alg in ("ES256", "EdDSA", "PS256")
    ]
    assert found == ["ES256", "EdDSA", "RS256"]


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"not a key",
        _pem(ec.generate_private_key(ec.SECP384R1())),
        _pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
        _pem(ed448.Ed448PrivateKey.generate()),
        _pem(x25519.X25519PrivateKey.generate()),
    ],
    ids=["empty", "text", "p-384", "rsa-1024", "ed448", "x25519"],
)
def test_no_other_key_is_taken(pem: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        SigningKey.from_pem(pem)
    assert pem[:20].decode() == "" or pem.decode().split("\n")[0] not in str(caught.value)


def test_a_wrong_password_is_a_config_error(signing_key: SigningKey) -> None:
    for password in (None, b"wrong"):
        with pytest.raises(ConfigError, match="password"):
            SigningKey.from_pem(signing_key.to_pem(b"right"), password=password)
    with pytest.raises(ConfigError, match="password"):
        SigningKey.from_pem(signing_key.to_pem(), password=b"needless")


@pytest.mark.parametrize("alg", ["RS256", "HS256", "none", "ES384"])
def test_an_algorithm_that_is_not_the_keys_is_refused(alg: str, signing_key: SigningKey) -> None:
    with pytest.raises(ConfigError):
        SigningKey.from_pem(signing_key.to_pem(), alg=alg)


@pytest.mark.parametrize("alg", ["HS256", "none", "ES384", ""])
def test_no_key_is_made_for_another_algorithm(alg: str) -> None:
    with pytest.raises(ConfigError):
        SigningKey.generate(alg)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_nothing_private_is_in_the_repr(alg: str, signing_keys: Mapping[str, SigningKey]) -> None:
    key = signing_keys[alg]
    assert repr(key) == f"SigningKey(alg={alg!r}, kid={key.kid!r})"
    assert str(key) == repr(key)


def test_every_generated_key_is_another() -> None:
    assert SigningKey.generate().kid != SigningKey.generate().kid


def test_the_payload_is_compact_json(signing_key: SigningKey) -> None:
    payload = parse_compact(signing_key.sign({"a": [1, "b"], "c": {"d": None}})).payload
    assert payload == b'{"a":[1,"b"],"c":{"d":null}}'
    assert json.loads(payload)["c"] == {"d": None}

# SPDX-License-Identifier: Apache-2.0
"""Key sets: a bad key spoils only itself, and says why."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from keyfob.errors import UpstreamError
from keyfob.tokens import base64url
from keyfob.tokens.keys import MAX_JWKS_BYTES, MAX_KEYS, KeySet, thumbprint
from keyfob.tokens.sign import SigningKey


@pytest.fixture(scope="session")
def jwk(signing_key: SigningKey) -> dict[str, str]:
    return signing_key.public_jwk()


@pytest.fixture(scope="session")
def rsa_jwk(signing_keys: Mapping[str, SigningKey]) -> dict[str, str]:
    return signing_keys["RS256"].public_jwk()


def _uint(number: int) -> str:
    return base64url.encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode()


def _reason(bad: Any, good: Mapping[str, Any]) -> str:
    """Put a bad key beside a good one; the good one survives, the answer is the bad one's fault."""
    keys = KeySet.from_jwks({"keys": [bad, {**good, "kid": "good"}]})
    assert [key.kid for key in keys.keys] == ["good"]
    (rejected,) = keys.rejected
    return rejected.reason


def test_rfc_7638_section_3_1_thumbprint() -> None:
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJE"
        "CPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2Q"
        "vzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6"
        "WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
    )
    key = {"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_rfc_8037_appendix_a_3_thumbprint() -> None:
    key = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    "key", [{}, {"kty": "oct", "k": "AA"}, {"kty": "EC"}, {"kty": "RSA", "n": 1}]
)
def test_what_is_no_public_key_has_no_thumbprint(key: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"thumbprint|members"):
        thumbprint(key)


def test_bytes_and_object_read_alike(jwk: dict[str, str]) -> None:
    document = {"keys": [jwk], "unknown": True}
    assert KeySet.from_jwks(json.dumps(document).encode()) == KeySet.from_jwks(document)


def test_key_sets_differ_when_their_keys_do(jwk: dict[str, str]) -> None:
    assert KeySet.from_jwks({"keys": [jwk]}) != KeySet.from_jwks({"keys": [{**jwk, "kid": "x"}]})
    assert KeySet.from_jwks({"keys": [jwk]}) != KeySet()


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":null}',
        b'{"keys":[],"keys":[]}',
        b'{"keys":[' + b" " * MAX_JWKS_BYTES + b"]}",
        b'\xff{"keys":[]}',
        {"kid": "x"},
    ],
)
def test_what_is_no_key_set_is_an_upstream_error(document: bytes | dict[str, Any]) -> None:
    with pytest.raises(UpstreamError) as caught:
        KeySet.from_jwks(document)
    assert caught.value.code == "upstream_invalid"


def test_an_empty_key_set_is_one() -> None:
    assert KeySet.from_jwks(b'{"keys":[]}') == KeySet()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kty": "oct", "k": "AA"}, "shared secret"),
        ({"kty": "AKP"}, "not supported"),
        ({"kty": None}, "not supported"),
        ({"kty": ["EC"]}, "not supported"),
        ({"d": "AA"}, "private"),
        ({"k": "AA"}, "private"),
        ({"use": "enc"}, "use"),
        ({"use": ["sig"]}, "use"),
        ({"key_ops": ["sign"]}, "key_ops"),
        ({"key_ops": []}, "key_ops"),
        ({"key_ops": "verify"}, "key_ops"),
        ({"alg": "ES384"}, "algorithm"),
        ({"alg": "HS256"}, "algorithm"),
        ({"alg": "RS256"}, "algorithm"),
        ({"alg": "none"}, "algorithm"),
        ({"alg": ["ES256"]}, "algorithm"),
        ({"crv": "P-384"}, "curve"),
        ({"crv": "secp256k1"}, "curve"),
        ({"kid": 1}, "kid"),
        ({"x": None}, "x is missing"),
        ({"x": "AA"}, "length"),
        ({"x": "A" * 43}, "numbers"),
        ({"x": "A" * 44}, "length"),
        ({"x": "A" * 42 + "B"}, "canonical"),
        ({"x": "A" * 43 + "="}, "canonical"),
        ({"x": "\u00e9"}, "base64url"),
    ],
)
def test_an_unfit_ec_key_is_rejected_alone(
    change: dict[str, Any], reason: str, jwk: dict[str, str]
) -> None:
    assert reason in _reason({**jwk, **change}, jwk)


@pytest.mark.parametrize("entry", [None, 1, "key", []])
def test_an_entry_that_is_no_object_is_rejected_alone(entry: Any, jwk: dict[str, str]) -> None:
    assert _reason(entry, jwk) == "not an object"


def test_a_key_with_a_member_twice_is_rejected_alone(jwk: dict[str, str]) -> None:
    good, bad = json.dumps({**jwk, "kid": "good"}), json.dumps(jwk)
    bad = bad[:-1] + ',"use":"sig"}'
    keys = KeySet.from_jwks(f'{{"keys":[{bad},{good}]}}'.encode())
    assert [key.kid for key in keys.keys] == ["good"]
    assert [rejected.reason for rejected in keys.rejected] == ["a member stands twice in it"]


def test_an_okp_key_of_another_curve_or_length_is_rejected(
    signing_keys: Mapping[str, SigningKey], jwk: dict[str, str]
) -> None:
    key = signing_keys["EdDSA"].public_jwk()
    assert "curve" in _reason({**key, "crv": "X25519"}, jwk)
    assert "curve" in _reason({**key, "crv": "Ed448"}, jwk)
    assert "numbers" in _reason({**key, "x": "AAAA"}, jwk)


@pytest.mark.attack("J15")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"e": "AQ"}, "exponent"),
        ({"e": "Aw"}, "exponent"),
        ({"e": ""}, "exponent"),
        ({"e": "AAAA"}, "exponent"),
        ({"e": "AQAC"}, "numbers"),
        ({"e": _uint(2**64 + 1)}, "exponent"),
        ({"n": _uint(2**1023 + 1)}, "bits"),
        ({"n": _uint(2**2046 + 1)}, "bits"),
        ({"n": _uint(2**8192 + 1)}, "bits"),
        ({"n": _uint(2**2047)}, "numbers"),
        ({"n": None}, "n is missing"),
        ({"e": None}, "e is missing"),
        ({"e": 65537}, "e is missing"),
        ({"p": "AA"}, "private"),
        ({"alg": "ES256"}, "algorithm"),
        ({"alg": "RSA-OAEP"}, "algorithm"),
    ],
)
def test_a_weak_or_malformed_rsa_key_is_rejected_alone(
    change: dict[str, str], reason: str, rsa_jwk: dict[str, str]
) -> None:
    assert reason in _reason({**rsa_jwk, **change}, rsa_jwk)


def test_a_real_rsa_key_of_1024_bits_is_rejected(rsa_jwk: dict[str, str]) -> None:
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    bad = {"kty": "RSA", "n": _uint(small.public_key().public_numbers().n), "e": "AQAB"}
    assert "bits" in _reason(bad, rsa_jwk)


@pytest.mark.attack("J15")
def test_a_modulus_of_the_flawed_generator_is_rejected_and_its_neighbour_is_not(
    rsa_jwk: dict[str, str],
) -> None:
    """ROCA, CVE-2017-15361: a power of 65537 modulo every small prime, not only modulo most."""
    primes = [n for n in range(3, 168, 2) if all(n % low for low in range(3, n, 2))]
    product = math.prod(primes)
    modulus = (2**2047 // product + 2) * product + pow(65537, 123_456_789, product)
    modulus += product * (1 - modulus % 2)
    assert "ROCA" in _reason({**rsa_jwk, "n": _uint(modulus)}, rsa_jwk)
    # Modulo 11 the powers are 1 and 10; the step changes no other remainder, nor the parity.
    step = 2 * product // 11
    neighbour = next(n for n in itertools.count(modulus, step) if n % 11 not in {0, 1, 10})
    assert KeySet.from_jwks({"keys": [{**rsa_jwk, "n": _uint(neighbour)}]}).keys


def test_a_key_of_another_type_than_its_members_is_rejected(
    signing_keys: Mapping[str, SigningKey], jwk: dict[str, str]
) -> None:
    point, okp = jwk, signing_keys["EdDSA"].public_jwk()
    assert "n is missing" in _reason({**point, "kty": "RSA"}, jwk)
    assert "curve" in _reason({**point, "kty": "OKP"}, jwk)
    assert "curve" in _reason({**okp, "kty": "EC"}, jwk)
    assert "y is missing" in _reason({**okp, "kty": "EC", "crv": "P-256"}, jwk)


def test_a_modulus_with_a_leading_zero_octet_is_read(rsa_jwk: dict[str, str]) -> None:
    """Java's BigInteger writes one; it changes nothing about the key."""
    modulus = base64url.encode(b"\0" + base64url.decode(rsa_jwk["n"].encode())).decode()
    assert KeySet.from_jwks({"keys": [{**rsa_jwk, "n": modulus}]}).keys


def test_a_key_without_alg_has_the_one_its_type_suggests(
    signing_keys: Mapping[str, SigningKey],
) -> None:
    found = {}
    for alg in ("ES256", "EdDSA", "PS256"):
        key = {**signing_keys[alg].public_jwk()}
        del key["alg"]
        found[alg] = KeySet.from_jwks({"keys": [key]}).keys[0].algorithm
    assert found == {"ES256": "ES256", "EdDSA": "Ed25519", "PS256": "RS256"}


@pytest.mark.parametrize(
    ("kid", "alg", "hits"),
    [
        ("a", "ES256", ["a"]),
        ("A", "ES256", []),
        ("a", "RS256", []),
        ("b", "RS256", ["b"]),
        ("", "ES256", []),
        (None, "ES256", ["a", "c", None]),
        (None, "PS256", []),
        ("a", "HS256", []),
        ("a", "none", []),
        ("../../dev/null", "ES256", []),
    ],
)
def test_find_returns_the_keys_of_that_name_and_algorithm(
    kid: str | None,
    alg: str,
    hits: list[str | None],
    jwk: dict[str, str],
    rsa_jwk: dict[str, str],
) -> None:
    nameless = SigningKey.generate().public_jwk()
    del nameless["kid"]
    entries = [{**jwk, "kid": "a"}, {**rsa_jwk, "kid": "b"}, {**jwk, "kid": "c"}, nameless]
    assert [key.kid for key in KeySet.from_jwks({"keys": entries}).find(kid, alg)] == hits


def test_both_names_of_eddsa_find_the_same_key(signing_keys: Mapping[str, SigningKey]) -> None:
    keys = KeySet.from_jwks({"keys": [signing_keys["EdDSA"].public_jwk()]})
    assert keys.find(None, "EdDSA") == keys.find(None, "Ed25519") == keys.keys


def test_keys_that_share_a_kid_and_an_algorithm_are_all_rejected(jwk: dict[str, str]) -> None:
    """Which of them a token means cannot be told (Wycheproof: DuplicateKid)."""
    other = {**SigningKey.generate().public_jwk(), "kid": jwk["kid"]}
    keys = KeySet.from_jwks({"keys": [jwk, other, {**jwk, "kid": "good"}]})
    assert [key.kid for key in keys.keys] == ["good"]
    refusal = keys.refusal(jwk["kid"])
    assert refusal is not None
    assert refusal.code == "key_refused"


@pytest.mark.parametrize("alg", ["RS256", "EdDSA"])
def test_keys_of_other_types_that_share_a_kid_are_all_rejected_too(
    alg: str, signing_keys: Mapping[str, SigningKey]
) -> None:
    twins = [signing_keys[alg].public_jwk(), SigningKey.generate(alg).public_jwk()]
    keys = KeySet.from_jwks({"keys": [{**twin, "kid": "same"} for twin in twins]})
    assert keys.find("same", alg) == ()
    assert len(keys.rejected) == 1


def test_keys_of_different_algorithms_may_share_a_kid(
    jwk: dict[str, str], rsa_jwk: dict[str, str]
) -> None:
    """Which of them a token means, its algorithm tells (RFC 7517 section 4.5)."""
    keys = KeySet.from_jwks({"keys": [{**jwk, "kid": "same"}, {**rsa_jwk, "kid": "same"}]})
    for alg in ("ES256", "RS256"):
        assert [key.algorithm for key in keys.find("same", alg)] == [alg]


def test_the_same_key_listed_twice_is_one_key(jwk: dict[str, str]) -> None:
    assert len(KeySet.from_jwks({"keys": [jwk, jwk]}).keys) == 1


def test_an_encryption_key_with_the_kid_of_a_signature_key_does_not_spoil_it(
    jwk: dict[str, str],
) -> None:
    keys = KeySet.from_jwks({"keys": [{**jwk, "use": "enc"}, jwk]})
    assert len(keys.find(jwk["kid"], "ES256")) == 1


@pytest.mark.parametrize(
    ("kid", "code"),
    [("good", "algorithm_refused"), ("bad", "key_refused"), ("unknown", None), (None, None)],
)
def test_refusal_tells_an_unfit_key_from_an_unknown_one(
    kid: str | None, code: str | None, jwk: dict[str, str]
) -> None:
    entries = [{**jwk, "kid": "good"}, {**jwk, "kid": "bad", "use": "enc"}]
    refusal = KeySet.from_jwks({"keys": entries}).refusal(kid)
    assert (refusal.code if refusal else None) == code


def test_no_more_keys_are_read_than_the_cap(jwk: dict[str, str]) -> None:
    keys = KeySet.from_jwks({"keys": [{**jwk, "kid": str(n)} for n in range(MAX_KEYS + 5)]})
    assert len(keys.keys) == MAX_KEYS
    assert len(keys.rejected) == 1


def test_a_key_without_a_kid_is_known_by_its_thumbprint(jwk: dict[str, str]) -> None:
    nameless = {name: value for name, value in jwk.items() if name != "kid"}
    (key,) = KeySet.from_jwks({"keys": [nameless]}).keys
    assert (key.kid, key.key_id) == (None, jwk["kid"])

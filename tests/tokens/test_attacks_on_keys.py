# SPDX-License-Identifier: Apache-2.0
"""Attacks by keys that should not be, and on the work that a token causes before its signature."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512, HashAlgorithm

from keyfob.errors import TokenError
from keyfob.tokens import base64url
from keyfob.tokens.keys import MAX_KEYS, KeySet, VerificationKey
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import TrustedIssuer, VerifiedToken
from tests.work import calls

Forge = Callable[..., str]
Accepted = Callable[..., VerifiedToken]
Refused = Callable[..., str]
Claims = dict[str, Any]


def _uint(number: int) -> str:
    return base64url.encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode()


def _jwk(key: rsa.RSAPrivateKey, **changes: str) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "kid": "k", "n": _uint(numbers.n), "e": _uint(numbers.e), **changes}


def _roca() -> str:
    """A modulus as CVE-2017-15361 makes them."""
    primes = [n for n in range(3, 168, 2) if all(n % low for low in range(3, n, 2))]
    product = math.prod(primes)
    modulus = (2**2047 // product + 2) * product + pow(65537, 123_456_789, product)
    return _uint(modulus + product * (1 - modulus % 2))


def _signer(
    key: rsa.RSAPrivateKey,
    scheme: padding.AsymmetricPadding | None = None,
    digest: HashAlgorithm | None = None,
) -> Callable[[bytes], bytes]:
    return lambda data: key.sign(data, scheme or padding.PKCS1v15(), digest or SHA256())


@pytest.fixture(scope="module")
def small() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


@pytest.fixture(scope="module")
def cubic() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=3, key_size=2048)


@pytest.fixture
def rsa_trust(issuer: TrustedIssuer) -> TrustedIssuer:
    return replace(issuer, algorithms=frozenset({"RS256", "PS256"}))


# --- weak keys, although their signatures are good ---


@pytest.mark.attack("J15", "key_refused")
def test_a_good_signature_of_a_weak_rsa_key(
    *,
    claims: Claims,
    forge: Forge,
    refused: Refused,
    rsa_trust: TrustedIssuer,
    small: rsa.RSAPrivateKey,
    cubic: rsa.RSAPrivateKey,
) -> None:
    for key in (small, cubic):
        token = forge(claims, {"alg": "RS256", "kid": "k"}, sign=_signer(key))
        keys = KeySet.from_jwks({"keys": [_jwk(key)]})
        assert refused(token, issuer=rsa_trust, keys=keys) == "key_refused"


@pytest.mark.attack("J15", "key_refused")
@pytest.mark.parametrize("change", [{"e": "AQ"}, {"n": _roca()}], ids=["e=1", "ROCA"])
def test_a_token_that_anybody_could_have_signed(
    *,
    change: dict[str, str],
    claims: Claims,
    forge: Forge,
    refused: Refused,
    rsa_trust: TrustedIssuer,
    signing_keys: Mapping[str, SigningKey],
) -> None:
    """With e=1 the padded digest is its own signature (Wycheproof: a public exponent of 1)."""
    jwk = {**signing_keys["RS256"].public_jwk(), "kid": "k", **change}
    info = bytes.fromhex("3031300d060960864801650304020105000420")

    def sign(data: bytes) -> bytes:
        import hashlib

        tail = b"\0" + info + hashlib.sha256(data).digest()
        return b"\0\1" + b"\xff" * (256 - 2 - len(tail)) + tail

    token = forge(claims, {"alg": "RS256", "kid": "k"}, sign=sign)
    keys = KeySet.from_jwks({"keys": [jwk]})
    assert refused(token, issuer=rsa_trust, keys=keys) == "key_refused"


@pytest.mark.attack("J15", "key_unknown")
def test_a_token_of_a_key_whose_jwk_names_a_member_twice(
    claims: Claims, forge: Forge, attempt: Callable[..., Any], signing_key: SigningKey
) -> None:
    """Which of the two is meant cannot be told, nor what the key is called."""
    text = json.dumps(signing_key.public_jwk())[:-1] + ',"use":"sig","use":"sig"}'
    keys = KeySet.from_jwks(f'{{"keys":[{text}]}}'.encode())
    assert [rejected.reason for rejected in keys.rejected] == ["a member stands twice in it"]
    assert attempt(forge(claims), keys=keys).refusal().code == "key_unknown"


# --- RSA paddings ---


@pytest.mark.attack("J16", "signature_invalid")
@pytest.mark.parametrize("alg", ["RS256", "PS256"])
def test_a_good_rsa_signature_in_any_other_scheme(
    *,
    alg: str,
    claims: Claims,
    forge: Forge,
    accepted: Accepted,
    refused: Refused,
    rsa_trust: TrustedIssuer,
    signing_keys: Mapping[str, SigningKey],
) -> None:
    """Signed with the right key: another padding, salt, mask or digest."""
    key = signing_keys[alg]
    private = key._private
    assert isinstance(private, rsa.RSAPrivateKey)
    mgf, short = padding.MGF1(SHA256()), padding.MGF1(SHA1())
    others: list[tuple[padding.AsymmetricPadding, HashAlgorithm]]
    others = [
        (padding.PSS(mgf, 32) if alg == "RS256" else padding.PKCS1v15(), SHA256()),
        (padding.PKCS1v15(), SHA1()),
        (padding.PKCS1v15(), SHA512()),
        *((padding.PSS(mgf, salt), SHA256()) for salt in (0, 20, 31, 33, 64, 222)),
        (padding.PSS(short, 32), SHA256()),
        (padding.PSS(padding.MGF1(SHA512()), 64), SHA512()),
    ]
    keys = KeySet.from_jwks({"keys": [key.public_jwk()]})
    header = {"alg": alg, "kid": key.kid}
    accepted(forge(claims, header, sign=key.signature), issuer=rsa_trust, keys=keys)
    for scheme, digest in others:
        token = forge(claims, header, sign=_signer(private, scheme, digest))
        assert refused(token, issuer=rsa_trust, keys=keys) == "signature_invalid"


# --- work before the signature, and by it ---


def _counting(key: VerificationKey, checks: list[bytes]) -> VerificationKey:
    def check(signing_input: bytes, signature: bytes) -> bool:
        checks.append(signing_input)
        return key.check(signing_input, signature)

    return replace(key, check=check)


@pytest.mark.attack("J11", "token_too_long", "token_malformed", "duplicate_member")
def test_what_is_too_large_or_malformed_costs_no_signature_check(
    claims: Claims, forge: Forge, accepted: Accepted, refused: Refused, key_set: KeySet
) -> None:
    checks: list[bytes] = []
    keys = KeySet(tuple(_counting(key, checks) for key in key_set.keys))
    accepted(forge(claims), keys=keys)
    assert len(checks) == 1
    raw = json.dumps(claims).encode()[:-1]
    assert refused(forge({**claims, "x": "x" * 65_535}), keys=keys) == "token_too_long"
    assert refused(forge(claims, {"x": "x" * 9_000}), keys=keys) == "token_too_long"
    assert refused(forge(raw + b',"x":' + b"[" * 8_000 + b"}"), keys=keys) == "token_malformed"
    assert refused(forge(raw + b',"x":' + b"9" * 9_000 + b"}"), keys=keys) == "token_malformed"
    assert refused(forge(raw + b',"x":[{"a":1,"a":1}]}'), keys=keys) == "duplicate_member"
    assert len(checks) == 1


@pytest.mark.attack("J5", "signature_invalid", "key_unknown")
def test_a_token_costs_one_signature_check_or_as_many_as_keys_are_read(
    claims: Claims, forge: Forge, attempt: Callable[..., Any], refused: Refused
) -> None:
    """Without a kid every key of the algorithm is a candidate, so there may not be many."""
    jwks = {"keys": [SigningKey.generate().public_jwk() for _ in range(MAX_KEYS + 6)]}
    checks: list[bytes] = []
    keys = KeySet(tuple(_counting(key, checks) for key in KeySet.from_jwks(jwks).keys))
    assert refused(forge(claims, {"kid": None}), keys=keys) == "signature_invalid"
    assert len(checks) == MAX_KEYS
    checks.clear()
    named = forge(claims, {"kid": jwks["keys"][3]["kid"]})
    assert refused(named, keys=keys) == "signature_invalid"
    assert len(checks) == 1
    assert attempt(forge(claims, {"kid": "x"}), keys=keys).refusal().code == "key_unknown"
    assert len(checks) == 1


@pytest.mark.attack("J5", "key_unknown")
@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "/dev/zero",
        "x' UNION SELECT '1';--",
        "' OR 1=1 --",
        "|sleep 10",
        "$(sleep 10)",
        "(a+)+$",
        "a" * 256,
        "*",
        "%s" * 100,
        "\ud83d\udd11" * 128,
    ],
)
def test_no_kid_costs_more_than_any_other(
    kid: str, claims: Claims, forge: Forge, attempt: Callable[..., Any], signing_key: SigningKey
) -> None:
    """Counted in calls: whatever it says, it is compared and nothing else is done with it."""
    plain = forge(claims, {"kid": "k"})
    token = forge(claims, {"kid": kid})
    for each in (plain, token):  # the parsed header is remembered from here on
        assert attempt(each).refusal().code == "key_unknown"
    assert calls(lambda: attempt(token)) == calls(lambda: attempt(plain))


@pytest.mark.attack("J6", "signature_invalid")
def test_r_and_s_at_every_edge_of_their_range(
    claims: Claims, forge: Forge, accepted: Accepted, refused: Refused, signing_key: SigningKey
) -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    head, _, tail = forge(claims).rpartition(".")
    good = base64url.decode(tail.encode())
    edges = (0, 1, order - 1, order, order + 1, 2**256 - 1)
    pairs = [(r, s) for r in edges for s in edges]
    r_good, s_good = (int.from_bytes(half, "big") for half in (good[:32], good[32:]))
    pairs += [(edge, s_good) for edge in edges] + [(r_good, edge) for edge in edges]
    for r, s in pairs:
        raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        assert refused(f"{head}.{base64url.encode(raw).decode()}") == "signature_invalid"
    accepted(f"{head}.{tail}")


def test_a_wrong_signature_says_nothing_of_how_wrong_it_is(
    claims: Claims, forge: Forge, attempt: Callable[..., Any]
) -> None:
    head, _, tail = forge(claims).rpartition(".")
    told = set()
    half = tail[:43]
    for signature in ("", "AA", "A" * 86, half + "A" * 43, tail + "AAAA"):
        with pytest.raises(TokenError) as caught:
            attempt(f"{head}.{signature}")
        told.add((caught.value.code, str(caught.value)))
    assert len(told) == 1

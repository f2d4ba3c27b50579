# SPDX-License-Identifier: Apache-2.0
"""No algorithm is chosen by the token: it is the issuer's list and the key's own, or nothing."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding

from keyfob.tokens import base64url
from keyfob.tokens.keys import ALGORITHMS, KeySet
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import NeedKeys, TrustedIssuer, VerifiedToken

Forge = Callable[..., str]
Accepted = Callable[..., VerifiedToken]
Refused = Callable[..., str]
Claims = dict[str, Any]

_HASHES = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
# What RFC 7518, RFC 8037 and RFC 8812 register and this resource server does not verify with.
_FOREIGN = (
    *("none", "HS256", "HS384", "HS512", "RS384", "RS512", "PS384", "PS512", "ES384", "ES512"),
    *("ES256K", "Ed448", "RSA1_5", "RSA-OAEP", "dir", "A128KW", "ECDH-ES", "PBES2-HS256+A128KW"),
)


def _secrets(key: SigningKey) -> Mapping[str, bytes]:
    """What a confused verifier might take for the secret of an HMAC: every form of a public key."""
    jwk = key.public_jwk()
    public = key._private.public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(Encoding.PEM, form)
    return {
        "pem": pem,
        "pem without its last newline": pem.rstrip(b"\n"),
        "der": public.public_bytes(Encoding.DER, form),
        "the number": base64url.decode(jwk.get("n", jwk.get("x", "")).encode()),
        "the number as it is written": jwk.get("n", jwk.get("x", "")).encode(),
        "jwk": json.dumps(jwk).encode(),
        "canonical jwk": json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode(),
        "empty": b"",
    }


@pytest.mark.attack("J2", "algorithm_refused")
@pytest.mark.parametrize("alg", _HASHES)
@pytest.mark.parametrize("published", ["RS256", "PS256", "ES256", "EdDSA"])
def test_an_hmac_keyed_with_a_public_key(
    *,
    alg: str,
    published: str,
    claims: Claims,
    issuer: TrustedIssuer,
    forge: Forge,
    refused: Refused,
    signing_keys: Mapping[str, SigningKey],
) -> None:
    """CVE-2015-9235, CVE-2024-37568: a verifier that lets the token choose."""
    key = signing_keys[published]
    trust = replace(issuer, algorithms=frozenset({published}))
    keys = KeySet.from_jwks({"keys": [key.public_jwk()]})
    for secret in _secrets(key).values():

        def mac(data: bytes, secret: bytes = secret) -> bytes:
            return hmac.new(secret, data, _HASHES[alg]).digest()

        for kid in (key.kid, None):
            token = forge(claims, {"alg": alg, "kid": kid}, sign=mac)
            assert refused(token, issuer=trust, keys=keys) == "algorithm_refused"
            # The same bytes under the name of the key's own algorithm are no signature either.
            honest_name = forge(claims, {"alg": published, "kid": kid}, sign=mac)
            assert refused(honest_name, issuer=trust, keys=keys) == "signature_invalid"


@pytest.mark.attack("J1", "algorithm_refused")
@pytest.mark.parametrize("trusted", ["ES256", "EdDSA", "RS256", "PS256"])
@pytest.mark.parametrize("signed", ["ES256", "EdDSA", "RS256", "PS256"])
def test_no_algorithm_is_chosen_by_the_token(
    *,
    trusted: str,
    signed: str,
    claims: Claims,
    issuer: TrustedIssuer,
    accepted: Accepted,
    refused: Refused,
    signing_keys: Mapping[str, SigningKey],
) -> None:
    """All keys are published, every signature is good: only the issuer's algorithm counts."""
    trust = replace(issuer, algorithms=frozenset({trusted}))
    keys = KeySet.from_jwks({"keys": [key.public_jwk() for key in signing_keys.values()]})
    token = signing_keys[signed].sign(claims)
    if signed == trusted:
        accepted(token, issuer=trust, keys=keys)
    else:
        assert refused(token, issuer=trust, keys=keys) == "algorithm_refused"


@pytest.mark.attack("J1", "algorithm_refused", "signature_invalid")
@pytest.mark.parametrize("published", ["ES256", "EdDSA", "RS256", "PS256"])
@pytest.mark.parametrize("named", [*ALGORITHMS, *_FOREIGN])
def test_another_name_makes_no_key_verify_otherwise(
    *,
    published: str,
    named: str,
    claims: Claims,
    issuer: TrustedIssuer,
    forge: Forge,
    accepted: Accepted,
    attempt: Callable[..., Any],
    refused: Refused,
    signing_keys: Mapping[str, SigningKey],
) -> None:
    """The issuer may use every algorithm there is, and its one key signs under another's name."""
    trust = replace(issuer, algorithms=frozenset(ALGORITHMS))
    key = signing_keys[published]
    keys = KeySet.from_jwks({"keys": [key.public_jwk()]})
    token = forge(claims, {"alg": named, "kid": key.kid}, sign=key.signature)
    nameless = forge(claims, {"alg": named, "kid": None}, sign=key.signature)
    if named in ALGORITHMS and ALGORITHMS[named] is ALGORITHMS[published]:
        accepted(token, issuer=trust, keys=keys)
        broken = token.rpartition(".")[0] + "." + "A" * 86
        assert refused(broken, issuer=trust, keys=keys) == "signature_invalid"
        return
    assert refused(token, issuer=trust, keys=keys) == "algorithm_refused"
    if named in ALGORITHMS:
        assert isinstance(attempt(nameless, issuer=trust, keys=keys), NeedKeys)
    else:
        assert refused(nameless, issuer=trust, keys=keys) == "algorithm_refused"


@pytest.mark.attack("J15", "algorithm_refused")
def test_an_algorithm_that_the_issuer_may_use_but_the_key_is_not_for(
    claims: Claims, issuer: TrustedIssuer, refused: Refused, signing_keys: Mapping[str, SigningKey]
) -> None:
    """One RSA key, published for RS256: its good PS256 signature is refused, and the reverse."""
    trust = replace(issuer, algorithms=frozenset({"RS256", "PS256"}))
    for alg, other in (("RS256", "PS256"), ("PS256", "RS256")):
        key = signing_keys[alg]
        keys = KeySet.from_jwks({"keys": [key.public_jwk()]})
        token = SigningKey.from_pem(key.to_pem(), alg=other).sign(claims)
        assert refused(token, issuer=trust, keys=keys) == "algorithm_refused"

# SPDX-License-Identifier: Apache-2.0
"""The guard proves who it is as the standards say, and shows its secrets to nobody else."""

from __future__ import annotations

import base64
from urllib.parse import unquote_plus

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ConfigError
from keyfob.oauth.client_authentication import (
    ASSERTION_LIFETIME,
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJwt,
)
from keyfob.tokens.jws import parse_compact
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import unverified
from tests.guard.world import ISSUER, NOW

SECRET = "s3cr3t: +%/é"


def pem() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@given(client_id=st.text(min_size=1), secret=st.text(min_size=1))
def test_basic_survives_every_character(client_id: str, secret: str) -> None:
    """RFC 6749 section 2.3.1: urlencoded first, so that a colon in the name does not split it."""
    if any("\ud800" <= character <= "\udfff" for character in client_id + secret):
        return
    proof = ClientSecretBasic(client_id=client_id, client_secret=secret).prove(NOW)
    scheme, _, credentials = proof.headers["Authorization"].partition(" ")
    name, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    assert (scheme, unquote_plus(name), unquote_plus(password)) == ("Basic", client_id, secret)
    assert not proof.parameters


def test_post_puts_both_into_the_form() -> None:
    proof = ClientSecretPost(client_id="guard", client_secret=SECRET).prove(NOW)
    assert proof.parameters == {"client_id": "guard", "client_secret": SECRET}
    assert not proof.headers


@pytest.mark.parametrize("alg", ["ES256", "RS256", "EdDSA"])
def test_an_assertion_is_signed_and_for_the_issuer_alone(alg: str) -> None:
    key = SigningKey.generate(alg)
    method = PrivateKeyJwt(client_id="guard", audience=ISSUER, key=key, key_id="k1")
    proof = method.prove(NOW + 0.9)
    assert proof.parameters["client_assertion_type"] == (
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    )
    assertion = proof.parameters["client_assertion"]
    header, claims = unverified(assertion)
    assert header == {"alg": alg, "typ": "JWT", "kid": "k1"}
    assert len(claims.pop("jti")) >= 22
    assert claims == {
        "iss": "guard",
        "sub": "guard",
        "aud": ISSUER,
        "iat": int(NOW),
        "exp": int(NOW) + ASSERTION_LIFETIME,
    }
    parsed = parse_compact(assertion)
    (public,) = KeySet.from_jwks({"keys": [key.public_jwk()]}).keys
    assert public.verify(parsed.signing_input, parsed.signature)


def test_every_assertion_is_its_own() -> None:
    method = PrivateKeyJwt.from_pem(pem(), client_id="guard", audience=ISSUER)
    ids = {
        unverified(method.prove(NOW).parameters["client_assertion"])[1]["jti"] for _ in range(100)
    }
    assert len(ids) == 100


def test_a_key_without_a_name_is_not_given_one() -> None:
    method = PrivateKeyJwt.from_pem(pem(), client_id="guard", audience=ISSUER)
    header, _ = unverified(method.prove(NOW).parameters["client_assertion"])
    assert header == {"alg": "ES256", "typ": "JWT"}


def test_an_assertion_is_no_access_token() -> None:
    """Its type says so, wherever a verifier is strict (RFC 8725 section 3.11)."""
    method = PrivateKeyJwt.from_pem(pem(), client_id="guard", audience=ISSUER)
    assert parse_compact(method.prove(NOW).parameters["client_assertion"]).header.typ == "jwt"


def test_a_key_that_does_not_fit_its_algorithm_is_refused() -> None:
    with pytest.raises(ConfigError):
        PrivateKeyJwt.from_pem(pem(), client_id="guard", audience=ISSUER, algorithm="RS256")
    with pytest.raises(ConfigError):
        PrivateKeyJwt.from_pem(b"no key", client_id="guard", audience=ISSUER)


@pytest.mark.parametrize("method", [ClientSecretBasic, ClientSecretPost])
def test_a_secret_is_not_empty(method: type[ClientSecretBasic]) -> None:
    for client_id, secret in (("", "x"), ("x", "")):
        with pytest.raises(ConfigError):
            method(client_id=client_id, client_secret=secret)


def test_a_signer_has_a_name() -> None:
    with pytest.raises(ConfigError):
        PrivateKeyJwt(client_id="", audience=ISSUER, key=SigningKey.generate())


def test_nothing_shows_a_secret() -> None:
    key_text = pem()
    methods: list[ClientAuthentication] = [
        ClientSecretBasic(client_id="guard", client_secret=SECRET),
        ClientSecretPost(client_id="guard", client_secret=SECRET),
        PrivateKeyJwt.from_pem(key_text, client_id="guard", audience=ISSUER),
    ]
    secrets = [SECRET, "s3cr3t", key_text.decode().splitlines()[1]]
    for method in methods:
        proof = method.prove(NOW)
        carried = [*proof.headers.values(), *proof.parameters.values()]
        secrets += [value for value in carried if value != "guard" and not value.startswith("urn:")]
        for shown in (repr(method), str(method), repr(proof), str(proof)):
            assert not any(secret in shown for secret in secrets)

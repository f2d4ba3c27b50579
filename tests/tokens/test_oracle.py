# SPDX-License-Identifier: Apache-2.0
"""joserfc and Keyfob agree: what one signs the other verifies, what one refuses the other does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk as oracle_jwk
from joserfc import jws as oracle_jws
from joserfc import jwt as oracle_jwt
from joserfc.errors import JoseError, SecurityWarning

from keyfob.errors import TokenError
from keyfob.tokens.keys import ALGORITHMS, KeySet, thumbprint
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import TrustedIssuer, VerifiedToken, verify

_TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
_EXTRA = st.dictionaries(
    _TEXT.map("x_{}".format), st.none() | st.booleans() | _TEXT | st.integers(0, 9)
)


def _issuer(alg: str) -> TrustedIssuer:
    return TrustedIssuer(
        name="example",
        issuer="https://as.example",
        audiences=frozenset({"mqtt"}),
        algorithms=frozenset({alg}),
    )


def _oracle_key(jwk: Mapping[str, Any]) -> Any:
    return oracle_jwk.import_key(dict(jwk))


def _oracle_decode(token: str, jwk: Mapping[str, Any], alg: str) -> dict[str, Any]:
    with warnings.catch_warnings():
        # The oracle warns of the name EdDSA, which RFC 9864 deprecates and issuers still use.
        warnings.simplefilter("ignore", SecurityWarning)
        return dict(oracle_jwt.decode(token, _oracle_key(jwk), algorithms=[alg]).claims)


def _oracle_encode(claims: Mapping[str, Any], key: SigningKey) -> str:
    private = oracle_jwk.import_key(key.to_pem(), {"EC": "EC", "RSA": "RSA"}.get(_kty(key), "OKP"))  # type: ignore[call-overload]
    header = {"alg": key.alg, "kid": key.kid, "typ": "at+jwt"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        return oracle_jwt.encode(header, dict(claims), private, algorithms=[key.alg])


def _kty(key: SigningKey) -> str:
    return key.public_jwk()["kty"]


@pytest.mark.parametrize("alg", ALGORITHMS)
@given(extra=_EXTRA)
def test_the_oracle_reads_what_we_sign(
    alg: str, extra: dict[str, Any], signing_keys: Mapping[str, SigningKey]
) -> None:
    key = signing_keys[alg]
    claims = {"iss": "https://as.example", "exp": 1_790_003_600, **extra}
    assert _oracle_decode(key.sign(claims), key.public_jwk(), alg) == claims


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_we_verify_what_the_oracle_signs(
    alg: str, claims: dict[str, Any], now: float, signing_keys: Mapping[str, SigningKey]
) -> None:
    key = signing_keys[alg]
    issuer = _issuer(alg)
    keys = KeySet.from_jwks({"keys": [key.public_jwk()]})
    token = verify(_oracle_encode(claims, key), {issuer.issuer: issuer}, {issuer.issuer: keys}, now)
    assert isinstance(token, VerifiedToken)
    assert dict(token.claims.members) == claims


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_the_oracle_computes_the_same_thumbprint(
    alg: str, signing_keys: Mapping[str, SigningKey]
) -> None:
    jwk = signing_keys[alg].public_jwk()
    assert thumbprint(jwk) == _oracle_key(jwk).thumbprint()


@given(data=st.data())
def test_whatever_we_verify_after_a_change_of_bytes_the_oracle_verifies_too(
    data: st.DataObject, signing_key: SigningKey, now: float, issuer: TrustedIssuer, key_set: KeySet
) -> None:
    claims = {"iss": issuer.issuer, "aud": "mqtt", "sub": "d", "exp": now + 9, "iat": now}
    token = signing_key.sign({**claims, "jti": "j", "client_id": "c", "scope": "mqtt.connect"})
    at = data.draw(st.integers(0, len(token) - 1))
    changed = token[:at] + data.draw(st.sampled_from("Ab9-_. =")) + token[at + 1 :]
    try:
        outcome = verify(changed, {issuer.issuer: issuer}, {issuer.issuer: key_set}, now)
    except TokenError:
        return
    if isinstance(outcome, VerifiedToken):
        assert changed == token
        oracle_jws.deserialize_compact(
            changed, _oracle_key(signing_key.public_jwk()), algorithms=["ES256"]
        )


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_both_refuse_another_keys_signature(
    alg: str, claims: dict[str, Any], signing_keys: Mapping[str, SigningKey], now: float
) -> None:
    key, stranger = signing_keys[alg], SigningKey.generate(alg)
    token = stranger.sign(claims)
    with pytest.raises(JoseError):
        _oracle_decode(token, key.public_jwk(), alg)
    issuer = _issuer(alg)
    keys = KeySet.from_jwks({"keys": [{**key.public_jwk(), "kid": stranger.kid}]})
    with pytest.raises(TokenError) as caught:
        verify(token, {issuer.issuer: issuer}, {issuer.issuer: keys}, now)
    assert caught.value.code == "signature_invalid"


def test_the_forge_of_these_tests_signs_as_the_oracle_expects(
    forge: Callable[..., str], claims: dict[str, Any], signing_key: SigningKey
) -> None:
    """Otherwise every refusal in these tests could be for want of a good signature."""
    assert _oracle_decode(forge(claims), signing_key.public_jwk(), "ES256") == claims

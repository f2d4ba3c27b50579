# SPDX-License-Identifier: Apache-2.0
"""Keys, an issuer, good claims, and a forge for tokens that no honest signer would make."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from keyfob.errors import TokenError
from keyfob.tokens import base64url
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.verify import NeedIntrospection, NeedKeys, TrustedIssuer, VerifiedToken, verify

ISSUER = "https://as.example"
NOW = 1_790_000_000.0


@pytest.fixture(scope="session")
def now() -> float:
    return NOW


@pytest.fixture(scope="session")
def signing_keys() -> Mapping[str, SigningKey]:
    """One key for every name of an algorithm."""
    return {
        alg: SigningKey.generate(alg) for alg in ("ES256", "EdDSA", "Ed25519", "RS256", "PS256")
    }


@pytest.fixture(scope="session")
def signing_key(signing_keys: Mapping[str, SigningKey]) -> SigningKey:
    """The key that the standard issuer signs with."""
    return signing_keys["ES256"]


@pytest.fixture(scope="session")
def issuer() -> TrustedIssuer:
    return TrustedIssuer(
        name="example",
        issuer=ISSUER,
        audiences=frozenset({"mqtt"}),
        algorithms=frozenset({"ES256"}),
    )


@pytest.fixture(scope="session")
def key_set(signing_key: SigningKey) -> KeySet:
    return KeySet.from_jwks({"keys": [signing_key.public_jwk()]})


@pytest.fixture
def claims() -> dict[str, Any]:
    """What a good access token of the standard issuer says (RFC 9068 section 2.2)."""
    return {
        "iss": ISSUER,
        "sub": "dev1",
        "aud": "mqtt",
        "exp": int(NOW) + 3600,
        "iat": int(NOW),
        "jti": "a1",
        "client_id": "dev1",
        "scope": "mqtt.connect mqtt.publish:up/dev1/#",
    }


def _octets(part: Mapping[str, Any] | bytes) -> bytes:
    return part if isinstance(part, bytes) else json.dumps(part).encode()


@pytest.fixture(scope="session")
def forge(signing_key: SigningKey) -> Callable[..., str]:
    """Sign any header and payload, objects or bytes, with the issuer's own key.

    ``alg``, ``kid`` and ``typ`` are filled in where a header that is an object lacks them; None
    takes one out.
    """

    def make(
        payload: Mapping[str, Any] | bytes,
        header: Mapping[str, Any] | bytes = b"",
        *,
        sign: Callable[[bytes], bytes] = signing_key.signature,
    ) -> str:
        if not isinstance(header, bytes) or not header:
            members = {
                "alg": "ES256",
                "kid": signing_key.kid,
                "typ": "at+jwt",
                **dict(header or {}),
            }
            header = {name: value for name, value in members.items() if value is not None}
        parts = base64url.encode(_octets(header)) + b"." + base64url.encode(_octets(payload))
        return (parts + b"." + base64url.encode(sign(parts))).decode()

    return make


@pytest.fixture(scope="session")
def attempt(
    issuer: TrustedIssuer, key_set: KeySet
) -> Callable[..., VerifiedToken | NeedKeys | NeedIntrospection]:
    """Verify with the standard trust, or another issuer, key set or time."""

    def make(
        token: str | bytes,
        *,
        issuer: TrustedIssuer = issuer,
        keys: KeySet | None = key_set,
        now: float = NOW,
    ) -> VerifiedToken | NeedKeys | NeedIntrospection:
        at_hand = {} if keys is None else {issuer.issuer: keys}
        return verify(token, {issuer.issuer: issuer}, at_hand, now)

    return make


@pytest.fixture(scope="session")
def accepted(attempt: Callable[..., Any]) -> Callable[..., VerifiedToken]:
    """Verify what must be accepted."""

    def make(token: str | bytes, **trust: Any) -> VerifiedToken:
        outcome = attempt(token, **trust)
        assert isinstance(outcome, VerifiedToken)
        return outcome

    return make


@pytest.fixture(scope="session")
def refused(attempt: Callable[..., Any]) -> Callable[..., str]:
    """Verify what must be refused; the answer is the error's code.

    The error never repeats the token: its message holds none of its longer segments.
    """

    def make(token: str | bytes, **trust: Any) -> str:
        with pytest.raises(TokenError) as caught:
            attempt(token, **trust)
        text = token if isinstance(token, str) else token.decode("latin-1")
        assert not any(
            segment in str(caught.value) for segment in text.split(".") if len(segment) > 8
        )
        return caught.value.code

    return make

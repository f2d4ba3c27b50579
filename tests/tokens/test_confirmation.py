# SPDX-License-Identifier: Apache-2.0
"""A token that is bound to a key is no bearer token."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from keyfob.errors import ClaimError
from keyfob.tokens import base64url
from keyfob.tokens.confirmation import bound_to, check
from keyfob.tokens.verify import VerifiedToken

_THUMBPRINT = hashlib.sha256(b"a certificate").digest()
_ENCODED = base64url.encode(_THUMBPRINT).decode()


@pytest.fixture
def bound(
    claims: dict[str, Any], forge: Callable[..., str], accepted: Callable[..., VerifiedToken]
) -> Callable[[dict[str, Any]], VerifiedToken]:
    """A verified token with this ``cnf``."""
    return lambda cnf: accepted(forge({**claims, "cnf": cnf}))


def _refused(token: VerifiedToken, thumbprint: bytes | None) -> None:
    with pytest.raises(ClaimError) as caught:
        check(token, thumbprint)
    assert (caught.value.code, caught.value.claim) == ("confirmation_unproven", "cnf")


@pytest.mark.parametrize("thumbprint", [None, _THUMBPRINT])
def test_a_token_without_cnf_is_a_bearer_token(
    thumbprint: bytes | None,
    claims: dict[str, Any],
    forge: Callable[..., str],
    accepted: Callable[..., VerifiedToken],
) -> None:
    check(accepted(forge(claims)), thumbprint)


@pytest.mark.attack("J18", "confirmation_unproven")
def test_a_bound_token_needs_its_certificate(
    bound: Callable[[dict[str, Any]], VerifiedToken],
) -> None:
    token = bound({"x5t#S256": _ENCODED})
    check(token, _THUMBPRINT)
    _refused(token, None)
    _refused(token, hashlib.sha256(b"another certificate").digest())
    _refused(token, b"")


@pytest.mark.attack("J18", "confirmation_unproven")
@pytest.mark.parametrize(
    "cnf",
    [
        {},
        {"x5t#S256": None},
        {"x5t#S256": ""},
        {"x5t#S256": [_ENCODED]},
        {"x5t#S256": _ENCODED + "="},
        {"x5t#S256": _ENCODED[:-1]},
        {"x5t#S256": _ENCODED[:-4]},
        {"x5t#S256": "\u00e9"},
        {"x5t#s256": _ENCODED},
        {"x5t": _ENCODED},
        {"jkt": _ENCODED},
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": _ENCODED}},
        {"jwk": {"kty": "oct"}},
        {"kid": "k"},
        {"x5t#S256": _ENCODED, "jkt": _ENCODED},
        {"x5t#S256": _ENCODED, "jwk": {"kty": "EC"}},
        {"x5t#S256": _ENCODED, "unknown": 1},
    ],
)
def test_a_binding_that_cannot_be_proven_is_refused_and_not_ignored(
    cnf: dict[str, Any], bound: Callable[[dict[str, Any]], VerifiedToken]
) -> None:
    _refused(bound(cnf), _THUMBPRINT)
    _refused(bound(cnf), None)


def test_an_empty_thumbprint_never_matches_an_empty_certificate(
    bound: Callable[[dict[str, Any]], VerifiedToken],
) -> None:
    _refused(bound({"x5t#S256": ""}), b"")


class _Proof:
    """Proves everything, or nothing."""

    def __init__(self, *, good: bool) -> None:
        self._good = good

    def check(self, token: VerifiedToken, now: float) -> None:
        if not self._good or token.claims.confirmation is None or now < 1:
            raise ClaimError("no", code="confirmation_unproven", claim="cnf")


@pytest.mark.attack("J18", "confirmation_unproven")
def test_a_proof_decides_alone_and_no_certificate_makes_up_for_a_bad_one(
    bound: Callable[[dict[str, Any]], VerifiedToken],
) -> None:
    token = bound({"x5t#S256": _ENCODED})
    check(token, None, _Proof(good=True), 1.0)
    with pytest.raises(ClaimError) as caught:
        check(token, _THUMBPRINT, _Proof(good=False), 1.0)
    assert caught.value.code == "confirmation_unproven"


# RFC 7638 section 3.1, without its private half.
_RSA = {
    "kty": "RSA",
    "e": "AQAB",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJ"
    "ECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2Qvz"
    "qY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0"
    "fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
}


@pytest.mark.parametrize(
    ("cnf", "name"),
    [
        (None, ""),
        ({}, "unknown"),
        ({"x5t#S256": "t"}, "x5t#S256:t"),
        ({"jkt": "t"}, "jkt:t"),
        ({"jkt": "t", "kid": "k"}, "unknown"),
        ({"jkt": 1}, "unknown"),
        ({"kid": "k"}, "unknown"),
        ({"jwk": _RSA}, "jwk:NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        ({"jwk": {**_RSA, "kid": "k"}}, "jwk:NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        ({"jwk": {"kty": "oct", "kid": "k"}}, "oct:k"),
        ({"jwk": {"kty": "oct"}}, "oct:"),
        ({"jwk": {"kty": []}}, "unknown"),
        ({"jwk": {"kty": "EC"}}, "unknown"),
        ({"jwk": "x"}, "unknown"),
    ],
)
def test_what_a_token_is_bound_to_has_a_name_that_tells_no_secret(
    cnf: dict[str, Any] | None, name: str
) -> None:
    assert bound_to(cnf) == name

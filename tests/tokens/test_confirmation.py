# SPDX-License-Identifier: Apache-2.0
"""A token that is bound to a key is no bearer token."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from keyfob.errors import ClaimError
from keyfob.tokens import base64url
from keyfob.tokens.confirmation import check
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
        {"jwk": {"kty": "EC", "d": "AA"}},
        {"kid": "k"},
        {"x5t#S256": _ENCODED, "jkt": _ENCODED},
        {"x5t#S256": _ENCODED, "jwk": {"kty": "EC", "d": "AA"}},
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

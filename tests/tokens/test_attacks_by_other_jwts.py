# SPDX-License-Identifier: Apache-2.0
"""J14: JWTs of the same issuer that are something else, as they really look.

Each is signed with the issuer's own key. A strict issuer's are told by ``typ``; those of an issuer
that writes ``JWT`` into everything by what only their kind has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from keyfob.tokens.kinds import other_kind
from keyfob.tokens.verify import TrustedIssuer, VerifiedToken

Forge = Callable[..., str]
Accepted = Callable[..., VerifiedToken]
Refused = Callable[..., str]
Claims = dict[str, Any]

_ISSUER = "https://as.example"
_NOW = 1_790_000_000
_OURS = {"iss": _ISSUER, "aud": "mqtt", "iat": _NOW, "exp": _NOW + 300, "sub": "dev1"}
_LOGOUT: Claims = {"http://schemas.openid.net/event/backchannel-logout": {}}
_REVOKED: Claims = {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {}}

# Kind: (typ where it is told, claims). All name us as the audience: the worst that can be.
_KINDS: Mapping[str, tuple[str, Claims]] = {
    "ID token": ("JWT", {**_OURS, "nonce": "n", "at_hash": "x", "auth_time": _NOW}),
    "security event token": (
        "secevent+jwt",
        {"iss": _ISSUER, "aud": "mqtt", "iat": _NOW, "jti": "e1", "events": _REVOKED},
    ),
    "security event token with an end": ("secevent+jwt", {**_OURS, "events": _REVOKED}),
    "logout token": ("logout+jwt", {**_OURS, "jti": "l1", "sid": "s", "events": _LOGOUT}),
    "status list": (
        "statuslist+jwt",
        {
            **_OURS,
            "sub": "https://as.example/1",
            "status_list": {"bits": 1, "lst": "eNrbuRgAAhcBXQ"},
        },
    ),
    "introspection response": (
        "token-introspection+jwt",
        {**_OURS, "token_introspection": {"active": True, "scope": "mqtt.connect"}},
    ),
    "DPoP proof": (
        "dpop+jwt",
        {**_OURS, "jti": "d1", "htm": "POST", "htu": "https://as.example/t"},
    ),
    "Keycloak's ID token": ("JWT", {**_OURS, "typ": "ID", "azp": "dev1"}),
    "Keycloak's refresh token": ("JWT", {**_OURS, "typ": "Refresh"}),
    "Keycloak's offline token": ("JWT", {**_OURS, "typ": "Offline"}),
    "Keycloak's logout token": ("JWT", {**_OURS, "typ": "Logout", "sid": "s"}),
    "Cognito's ID token": ("JWT", {**_OURS, "token_use": "id", "cognito:username": "dev1"}),
}
_every_kind = pytest.mark.parametrize(("typ", "claims"), _KINDS.values(), ids=_KINDS)


@pytest.fixture
def relaxed(issuer: TrustedIssuer) -> TrustedIssuer:
    """An issuer of which nothing but a JWT is asked."""
    types = frozenset({"JWT", ""})
    return replace(issuer, types=types, required_scopes=frozenset())


@pytest.mark.attack("J14", "type_refused")
@_every_kind
def test_a_strict_issuers_other_jwts_are_told_by_their_type(
    typ: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge(claims, {"typ": typ})) == "type_refused"


@pytest.mark.attack("J14", "type_refused")
@_every_kind
def test_a_strict_issuers_other_jwts_are_told_by_their_claims_should_their_type_lie(
    typ: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    needed = {"client_id": "dev1", "jti": "a", "scope": "mqtt.connect"}
    assert refused(forge({**needed, **claims}, {"typ": "at+jwt"})) == "type_refused"


@pytest.mark.attack("J14", "type_refused")
@pytest.mark.parametrize("written", ["JWT", None])
@_every_kind
def test_a_relaxed_issuers_other_jwts_are_told_by_their_claims(
    *,
    typ: str,
    claims: Claims,
    written: str | None,
    forge: Forge,
    refused: Refused,
    relaxed: TrustedIssuer,
) -> None:
    assert refused(forge(claims, {"typ": written}), issuer=relaxed) == "type_refused"


@pytest.mark.attack("J14", "issuer_unknown")
def test_a_jwt_that_a_client_signs_has_the_client_for_an_issuer(
    forge: Forge, refused: Refused
) -> None:
    """A client assertion (RFC 7523 section 3), and a DPoP proof without iss (RFC 9449)."""
    assertion = {"iss": "dev1", "sub": "dev1", "aud": _ISSUER, "exp": _NOW + 60, "jti": "c"}
    proof = {"jti": "d", "htm": "POST", "htu": _ISSUER, "iat": _NOW}
    assert refused(forge(assertion, {"typ": "JWT"})) == "issuer_unknown"
    assert refused(forge(proof, {"typ": "dpop+jwt"})) == "issuer_unknown"


@pytest.mark.attack("J14", "audience_mismatch")
def test_an_id_token_for_the_client_is_not_for_the_broker(
    forge: Forge, refused: Refused, relaxed: TrustedIssuer
) -> None:
    """OpenID Connect Core 1.0 section 2: its audience is the client."""
    bare = {**_OURS, "aud": "dev1"}
    assert refused(forge(bare, {"typ": "JWT"}), issuer=relaxed) == "audience_mismatch"


@pytest.mark.parametrize(
    "extra",
    [
        {"typ": "Bearer"},
        {"typ": "DPoP"},
        {"typ": ["ID"]},
        {"token_use": "access"},
        {"token_use": 1},
        {"status": {"status_list": {"idx": 0, "uri": "https://as.example/1"}}},
        {"nested": {"events": {}}},
    ],
)
def test_what_access_tokens_do_have_is_no_other_kind(
    extra: Claims, forge: Forge, accepted: Accepted, relaxed: TrustedIssuer
) -> None:
    accepted(forge({**_OURS, **extra}, {"typ": "JWT"}), issuer=relaxed)
    assert other_kind(extra) is None

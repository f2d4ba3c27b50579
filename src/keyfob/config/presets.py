# SPDX-License-Identifier: Apache-2.0
"""Presets: what differs from the defaults of ``[[issuer]]`` for authorization servers by name.

A preset is data, in the shape of the section; what the file says wins over it. Where a product
calls its access tokens no more than "JWT", ``require`` and ``device_claim`` name claims that its
ID tokens lack, so that none of those passes for an access token (RFC 8725 section 3.12). What to
set up in each product is told in docs/authorization-servers.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["PRESETS"]

# Server Administration Guide, "Audience support": an access token names in aud the services that
# it is for, by an audience mapper, and not the client that asked, which is azp; an ID token names
# that client in aud. The typ of the header is JWT for both (at+jwt where a client's advanced
# settings say so, from 26.2 on); the claim typ is "Bearer" and "ID" (and "DPoP" in tokens that
# are bound to a key; org.keycloak.util.TokenUtil). Realm keys are RS256 unless another algorithm
# is chosen. sub is the service account's user.
_KEYCLOAK: Final[Mapping[str, Any]] = {
    "types": ["JWT", "at+jwt"],
    "algorithms": ["RS256"],
    "device_claim": "azp",
    "require": {"typ": "Bearer"},
}

# Ory Hydra 2, with strategies.access_token: jwt. Access tokens are signed with RS256 and typ JWT
# by the keys that /.well-known/jwks.json shows; scopes are the array scp unless
# strategies.jwt.scope_claim is string (ory/hydra#3531; ory/fosite, token/jwt/claims_jwt.go);
# client_id is a reserved claim of access tokens that no consent can set (ory/hydra,
# oauth2/session.go), and ID tokens have none.
_HYDRA: Final[Mapping[str, Any]] = {
    "types": ["JWT", "at+jwt"],
    "algorithms": ["RS256"],
    "device_claim": "client_id",
    "scope_claim": "scp",
}

# Auth0 docs, "Access Token Profiles": the default profile says JWT, azp, and gty where no user is
# involved; the RFC 9068 profile says at+jwt and client_id, has no gty, and needs no preset beyond
# algorithms. aud is the API's identifier. ID tokens have no gty.
_AUTH0: Final[Mapping[str, Any]] = {
    "types": ["JWT"],
    "algorithms": ["RS256"],
    "device_claim": "azp",
    "require": {"gty": "client-credentials"},
}

# Microsoft identity platform, "Access token claims reference", tokens of version 2.0: typ is always
# JWT; aud is the client ID of the API, and azp that of the client, which ID tokens lack; roles
# holds the application permissions of a client that acts for itself, for which there is no scp.
# Keys in the set name no alg; the algorithm is RS256.
_ENTRA: Final[Mapping[str, Any]] = {
    "types": ["JWT"],
    "algorithms": ["RS256"],
    "device_claim": "azp",
    "scope_claim": "roles",
    "require": {"ver": "2.0"},
}

# Amazon Cognito Developer Guide, "Understanding the access token": the header has kid and alg
# (RS256) and no typ; token_use is "access", and "id" in ID tokens; there is client_id and no aud
# (but for resource binding). Custom scopes are "resource server/scope", so it is the scope that
# says which API a token is for; a required scope beside it would say the same twice.
_COGNITO: Final[Mapping[str, Any]] = {
    "types": ["", "JWT"],
    "algorithms": ["RS256"],
    "device_claim": "client_id",
    "audience_claim": "scope",
    "required_scopes": [],
    "require": {"token_use": "access"},
    "rights": [],
}

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "keycloak": _KEYCLOAK,
    "hydra": _HYDRA,
    "auth0": _AUTH0,
    "entra": _ENTRA,
    "cognito": _COGNITO,
}

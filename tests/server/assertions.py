# SPDX-License-Identifier: Apache-2.0
"""Client assertions as the tests make them: good ones, and ones with anything wrong in them."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx

from keyfob.tokens import base64url
from keyfob.tokens.sign import SigningKey
from tests.server.world import ISSUER, World

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ENDPOINT = ISSUER + "/oauth2/token"
_NUMBERS = itertools.count()


def jwks_of(*keys: SigningKey) -> bytes:
    """Write the key set that a client registers."""
    return json.dumps({"keys": [key.public_jwk() for key in keys]}).encode()


def claims_for(now: float, client_id: str = "dev1", **changes: Any) -> dict[str, Any]:
    """Return the claims of a good assertion, changed; what is None is left out."""
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": ISSUER,
        "exp": int(now) + 60,
        "iat": int(now),
        "jti": f"assertion-{next(_NUMBERS)}",
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


def signed(key: SigningKey, claims: dict[str, Any] | bytes, **header: Any) -> str:
    """Sign whatever it is; header members that are None are left out."""
    members = {"alg": key.alg, "kid": key.kid} | header
    members = {name: value for name, value in members.items() if value is not None}
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    parts = base64url.encode(json.dumps(members).encode()) + b"." + base64url.encode(payload)
    return (parts + b"." + base64url.encode(key.signature(parts))).decode()


async def ask(world: World, assertion: str, **more: str) -> httpx.Response:
    """Ask for a token with an assertion."""
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": TYPE,
        "client_assertion": assertion,
    } | more
    return await world.http.post("/oauth2/token", data=form)

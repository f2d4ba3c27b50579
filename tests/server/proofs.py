# SPDX-License-Identifier: Apache-2.0
"""DPoP proofs as the tests make them: good ones, and ones with anything wrong in them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import httpx

from keyfob.tokens import base64url
from keyfob.tokens.sign import SigningKey
from tests.server.world import ISSUER, World

ENDPOINT = ISSUER + "/oauth2/token"
_NUMBERS = itertools.count()


def public_jwk(key: SigningKey) -> dict[str, str]:
    """Return a public key as a proof holds it."""
    return {name: value for name, value in key.public_jwk().items() if name not in ("use", "kid")}


def claims_for(now: float, **changes: Any) -> dict[str, Any]:
    """Return the claims of a good proof, changed; what is None is left out."""
    claims = {
        "jti": f"proof-{next(_NUMBERS)}",
        "htm": "POST",
        "htu": ENDPOINT,
        "iat": int(now),
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


def signed(key: SigningKey, claims: dict[str, Any] | bytes, **header: Any) -> str:
    """Sign whatever it is; header members that are None are left out."""
    members = {"typ": "dpop+jwt", "alg": key.alg, "jwk": public_jwk(key)} | header
    members = {name: value for name, value in members.items() if value is not None}
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    parts = base64url.encode(json.dumps(members).encode()) + b"." + base64url.encode(payload)
    return (parts + b"." + base64url.encode(key.signature(parts))).decode()


async def ask(
    world: World, proofs: str | Sequence[str], device: tuple[str, str], **more: str
) -> httpx.Response:
    """Ask for a token with a proof, or with several."""
    form = {
        "grant_type": "client_credentials",
        "client_id": device[0],
        "client_secret": device[1],
    } | more
    return await post(world, proofs, form)


async def post(world: World, proofs: str | Sequence[str], form: dict[str, str]) -> httpx.Response:
    """Send a form with proofs."""
    headers = [("DPoP", proof) for proof in ([proofs] if isinstance(proofs, str) else proofs)]
    form = {name: value for name, value in form.items() if value}
    return await world.http.post("/oauth2/token", data=form, headers=headers)


async def nonce_of(world: World, device: tuple[str, str]) -> str:
    """Ask without a nonce, as every client does first."""
    key = SigningKey.generate()
    answer = await ask(world, signed(key, claims_for(world.clock.now)), device)
    assert answer.json()["error"] == "use_dpop_nonce"
    return str(answer.headers["DPoP-Nonce"])

# SPDX-License-Identifier: Apache-2.0
"""The device's proof that it holds the key its token is to be bound to (RFC 9449 section 4)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

import msgspec

from keyfob.tokens import base64url
from keyfob.tokens.sign import SigningKey

__all__ = ["dpop_proof", "proof_jwt", "public_members"]

_PUBLIC: Final = ("kty", "crv", "x", "y", "n", "e")


def dpop_proof(key: SigningKey, *, method: str, url: str, now: float, nonce: str = "") -> str:
    """Sign a proof for one request.

    Args:
        key: The device's key.
        method: The request's HTTP method.
        url: Its URL; query and fragment do not count.
        now: Unix seconds.
        nonce: What the server gave for its last refusal (section 8); empty: nothing yet.
    """
    claims: dict[str, object] = {
        "jti": secrets.token_urlsafe(16),
        "htm": method,
        "htu": url.partition("#")[0].partition("?")[0],
        "iat": int(now),
    }
    if nonce:
        claims["nonce"] = nonce
    return proof_jwt(key, "dpop+jwt", claims)


def proof_jwt(key: SigningKey, typ: str, claims: Mapping[str, object]) -> str:
    """Sign a JWT that shows the key it is signed by.

    Args:
        key: The device's key.
        typ: What kind of proof it is.
        claims: What it says.
    """
    header = {"typ": typ, "alg": key.alg, "jwk": public_members(key)}
    parts = [base64url.encode(msgspec.json.encode(part)) for part in (header, claims)]
    signing_input = b".".join(parts)
    signature = base64url.encode(key.signature(signing_input))
    return (signing_input + b"." + signature).decode("ascii")


def public_members(key: SigningKey) -> dict[str, str]:
    """Return the members of a key's JWK that make it, and no others."""
    return {name: value for name, value in key.public_jwk().items() if name in _PUBLIC}

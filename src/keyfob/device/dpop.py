# SPDX-License-Identifier: Apache-2.0
"""The device's proof that it holds the key its token is to be bound to (RFC 9449 section 4)."""

from __future__ import annotations

import secrets

import msgspec

from keyfob.tokens import base64url
from keyfob.tokens.sign import SigningKey

__all__ = ["dpop_proof"]


def dpop_proof(key: SigningKey, *, method: str, url: str, now: float, nonce: str = "") -> str:
    """Sign a proof for one request.

    Args:
        key: The device's key.
        method: The request's HTTP method.
        url: Its URL; query and fragment do not count.
        now: Unix seconds.
        nonce: What the server gave for its last refusal (section 8); empty: nothing yet.
    """
    members = ("kty", "crv", "x", "y", "n", "e")
    public = {name: value for name, value in key.public_jwk().items() if name in members}
    header = {"typ": "dpop+jwt", "alg": key.alg, "jwk": public}
    claims: dict[str, object] = {
        "jti": secrets.token_urlsafe(16),
        "htm": method,
        "htu": url.partition("#")[0].partition("?")[0],
        "iat": int(now),
    }
    if nonce:
        claims["nonce"] = nonce
    parts = [base64url.encode(msgspec.json.encode(part)) for part in (header, claims)]
    signing_input = b".".join(parts)
    signature = base64url.encode(key.signature(signing_input))
    return (signing_input + b"." + signature).decode("ascii")

# SPDX-License-Identifier: Apache-2.0
"""Opaque access tokens: random texts that only this server can read (RFC 6749 section 1.4).

What such a token says is kept here under the token's SHA-256, and told by introspection (RFC 7662)
to whoever may ask. It is on the disk before the client has the token. The token itself is nowhere:
256 random bits need no slow hash, and whoever has the database has no token.

A token may be bound to a symmetric key, which the client gets with it and a resource server by
introspection. That key is not kept either. It is made of the token and of a random salt:

    k = HMAC-SHA-256(salt, token)

Whoever shows the token brings one half, the database has the other; neither is the key.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import msgspec

from keyfob.errors import UpstreamError
from keyfob.server.access_tokens import AccessTokenStore, found_token
from keyfob.server.credentials import ACCESS_TOKEN_PREFIX
from keyfob.server.issue import IssuedToken
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.token_lookup import FoundToken
from keyfob.tokens import base64url
from keyfob.tokens.issuers import MAX_EXPIRY_LEEWAY

__all__ = [
    "MAX_OPAQUE_TOKENS",
    "KeptToken",
    "OpaqueTokenStore",
    "OpaqueTokens",
    "generate_opaque_token",
    "is_opaque_token",
]

# Of one device that have not ended. A program that asks at every start would fill the disk
# otherwise; the oldest gives way, as if it had ended.
MAX_OPAQUE_TOKENS: Final = 64
_TOKEN: Final = re.compile(rf"{ACCESS_TOKEN_PREFIX}[A-Za-z0-9_-]{{43}}", re.ASCII)
_SALT_BYTES: Final = 32
_PROOF_KEY: Final = b"keyfob access token: proof key\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptToken:
    """What is kept of a token.

    Args:
        token_hash: Its SHA-256.
        subject: The device.
        expires_at: ``exp``.
        claims: All that a JWT would say, by the names of its claims.
        key_salt: The half of its symmetric key that is here; None: it has none.
    """

    token_hash: bytes = field(repr=False)
    subject: str
    expires_at: int
    claims: Mapping[str, Any] = field(repr=False)
    key_salt: bytes | None = field(default=None, repr=False)


class OpaqueTokenStore(Protocol):
    """What opaque tokens need of a store."""

    async def keep(self, token: KeptToken, *, now: int, limit: int, forgotten: int) -> None:
        """Keep a token, durably; of one subject no more than a limit, ended and oldest ones go.

        Raises:
            UpstreamError: It could not be written down.
        """

    async def find(self, token_hash: bytes) -> KeptToken | None:
        """Return what is kept of a token."""


def generate_opaque_token() -> str:
    """Make a new token of 256 random bits."""
    return ACCESS_TOKEN_PREFIX + secrets.token_urlsafe(32)


def is_opaque_token(text: str) -> bool:
    """Say whether a text has the form of one; a JWT never has."""
    return _TOKEN.fullmatch(text) is not None


class OpaqueTokens:
    """The opaque tokens of one server.

    Args:
        store: What is kept of them.
        register: Whether their devices are enabled, and what was revoked.
    """

    def __init__(self, store: OpaqueTokenStore, register: AccessTokenStore) -> None:
        self._store = store
        self._register = register

    async def keep(self, token: IssuedToken, claims: Mapping[str, Any], *, now: int) -> IssuedToken:
        """Write down what a new token says, and return it with its key, if it is bound to one.

        Args:
            token: An opaque one.
            claims: All that it says. A ``cnf`` with ``kid`` asks for a symmetric key of that name.
            now: Unix seconds.

        Raises:
            OAuthError: ``temporarily_unavailable``: it could not be written down.
        """
        kid = claims.get("cnf", {}).get("kid")
        salt = None if kid is None else secrets.token_bytes(_SALT_BYTES)
        kept = KeptToken(
            token_hash=_hash(token.access_token),
            subject=str(claims["sub"]),
            expires_at=token.expires_at,
            claims=claims,
            key_salt=salt,
        )
        try:
            await self._store.keep(
                kept, now=now, limit=MAX_OPAQUE_TOKENS, forgotten=now - int(MAX_EXPIRY_LEEWAY)
            )
        except UpstreamError:
            raise OAuthError(
                "temporarily_unavailable", "try again later", reason="store_unavailable"
            ) from None
        if salt is None:
            return token
        return msgspec.structs.replace(
            token, cnf={"jwk": _proof_key(salt, token.access_token, kid)}
        )

    async def find(self, token: str, now: float, *, good: bool = True) -> FoundToken | None:
        """Return the token if it is one of ours; see ``TokenLookup``."""
        kept = await self._store.find(_hash(token))
        if kept is None or now >= kept.expires_at + (0 if good else MAX_EXPIRY_LEEWAY):
            return None
        found = found_token(kept.claims)
        unrevoked = await self._register.is_token_good(
            subject=found.subject, token_id=found.token_id, issued_at=found.issued_at
        )
        if not unrevoked:
            return None
        if kept.key_salt is None:
            return found
        key = _proof_key(kept.key_salt, token, kept.claims["cnf"]["kid"])
        return replace(found, proof_key=key)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _proof_key(salt: bytes, token: str, kid: str) -> Mapping[str, str]:
    """Return the symmetric key of a token as a JWK (RFC 7518 section 6.4)."""
    key = hmac.digest(salt, _PROOF_KEY + token.encode(), "sha256")
    return {"kty": "oct", "kid": kid, "alg": "HS256", "k": base64url.encode(key).decode("ascii")}

# SPDX-License-Identifier: Apache-2.0
"""Which form an access token takes: a signed JWT, or an opaque text that is kept here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from keyfob.server.access_tokens import SignedAccessTokens
from keyfob.server.clients import Client, ClientKind
from keyfob.server.issue import Access, IssuedToken, TokenIssuer, told
from keyfob.server.opaque_tokens import OpaqueTokens, generate_opaque_token, is_opaque_token
from keyfob.server.token_lookup import FoundToken

__all__ = ["AccessTokens", "Mint"]


class Mint:
    """Makes access tokens in the form that the client is registered for.

    Args:
        issuer: Says what they say, and signs.
        opaque: Keeps those that are not signed.
        default: The form where a client has no choice of its own.
    """

    def __init__(
        self, issuer: TokenIssuer, opaque: OpaqueTokens, *, default: Literal["jwt", "opaque"]
    ) -> None:
        self._issuer = issuer
        self._opaque = opaque
        self._default = default

    async def issue(
        self,
        client: Client,
        access: Access,
        scopes: tuple[str, ...],
        *,
        now: float,
        confirmation: Mapping[str, object],
    ) -> IssuedToken:
        """Make a token; an opaque one, and what ``access.keep`` writes, is on the disk then.

        An opaque one comes last: it takes the place of its device's oldest, which a request that
        ``access.keep`` refuses must not bring about.

        Args:
            client: Who asks: its registration says the form.
            access: What a grant allowed.
            scopes: What the token says, already narrowed.
            now: Before anything was read for this token; its whole second is ``iat``.
            confirmation: What it is bound to (``cnf``, RFC 7800); empty for a bearer token. With
                ``kid``, to a symmetric key, which a JWT could not carry.

        Raises:
            OAuthError: ``temporarily_unavailable``, or what ``access.keep`` refuses with.
        """
        form = client.metadata.access_token_format or self._default
        if client.kind is ClientKind.SERVICE:
            form = "jwt"  # for the admin API, which reads no other; so introspection knows none
        if form == "jwt" and "kid" not in confirmation:
            signed = self._issuer.issue(access, scopes, now=now, confirmation=confirmation)
            await _keep(access, signed)
            return signed
        claims = self._issuer.claims(access, scopes, now=int(now), confirmation=confirmation)
        token = told(generate_opaque_token(), access, claims)
        await _keep(access, token)
        return await self._opaque.keep(token, claims, now=int(now))


async def _keep(access: Access, token: IssuedToken) -> None:
    if access.keep is not None:
        await access.keep(token)


class AccessTokens:
    """The ``TokenLookup`` for both forms.

    Args:
        signed: JWTs.
        opaque: The others.
    """

    def __init__(self, signed: SignedAccessTokens, opaque: OpaqueTokens) -> None:
        self._signed = signed
        self._opaque = opaque

    async def find(self, token: str, now: float, *, good: bool = True) -> FoundToken | None:
        """Return the token if it is one of ours; see ``TokenLookup``."""
        if is_opaque_token(token):
            return await self._opaque.find(token, now, good=good)
        return await self._signed.find(token, now, good=good)

    async def revoke(self, found: FoundToken, now: float) -> bool:
        """Revoke a token by its ``jti``, which tokens of both forms have."""
        return await self._signed.revoke(found, now)

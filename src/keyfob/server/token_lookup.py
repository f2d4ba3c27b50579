# SPDX-License-Identifier: Apache-2.0
"""What a token is that somebody shows to us, and how it ends.

Introspection (RFC 7662) and revocation (RFC 7009) are the same look, with another question behind
it. A ``token_type_hint`` is not needed: there is one kind to look for, refresh tokens are told by
their form, and both RFCs let a server do without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["FoundToken", "OtherTokenTypeError", "TokenLookup"]


class OtherTokenTypeError(Exception):
    """A token of this server that is of no kind that can be looked up or revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundToken:
    """An access token of this server that was not revoked.

    Args:
        subject: The device that it is for.
        client_id: The OAuth client that it was issued to.
        token_id: Its ``jti``.
        issued_at: When it was issued, in Unix seconds.
        expires_at: When it ends, in Unix seconds.
        members: What introspection says of it (RFC 7662 section 2.2), but for ``active``.
        proof_key: The symmetric key that it is bound to, as a JWK, for those who may have it.
    """

    subject: str
    client_id: str
    token_id: str
    issued_at: int
    expires_at: int
    members: Mapping[str, object] = field(repr=False)
    proof_key: Mapping[str, str] | None = field(default=None, repr=False)


class TokenLookup(Protocol):
    """The access tokens of this server."""

    async def find(self, token: str, now: float, *, good: bool = True) -> FoundToken | None:
        """Return a token.

        Args:
            token: As presented.
            now: Unix seconds.
            good: Whether it has to be good here and now. If not, it is also returned where some
                resource server might still take it for good, or take it for good soon: clocks
                differ, and some let a token outlive its ``exp``.

        Raises:
            OtherTokenTypeError: It is one of this server's, but no access token.
            OAuthError: ``temporarily_unavailable``: this process cannot tell.
        """

    async def revoke(self, found: FoundToken, now: float) -> bool:
        """End a token that ``find`` returned; it has ended for good when this returns.

        Returns:
            Whether it was; False: as many as can be remembered are revoked already.

        Raises:
            UpstreamError: It could not be written down.
        """

# SPDX-License-Identifier: Apache-2.0
"""Our own signed access tokens (RFC 9068), read again as a resource server would read them.

The signature and the claims say what a token was when it was issued. Whether it is still good, the
register says: its device is registered and enabled, and neither the device's tokens of its time
nor this one were revoked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Protocol

from keyfob.errors import TokenError
from keyfob.server.issue import token_type
from keyfob.server.lifetimes import MAX_LIFETIME, token_revocation_until
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.settings import ServerSettings
from keyfob.server.token_lookup import FoundToken, OtherTokenTypeError
from keyfob.tokens import jws
from keyfob.tokens.claims import audience_of
from keyfob.tokens.issuers import MAX_EXPIRY_LEEWAY, TrustedIssuer
from keyfob.tokens.keys import ALGORITHMS, KeySet
from keyfob.tokens.verify import NeedIntrospection, NeedKeys, VerifiedToken, verify

__all__ = [
    "MAX_REVOKED_TOKENS",
    "AccessTokenStore",
    "SignedAccessTokens",
    "VerifyingKeys",
    "found_token",
]

# Of one device. A guard remembers a million revocations: no device that revokes what it gets, again
# and again, may fill that up for the whole fleet.
MAX_REVOKED_TOKENS: Final = 1_000
# What RFC 7662 section 2.2 and RFC 9068 section 2.2 name, and what binds or extends a token:
# RFC 8705 section 3.2, RFC 9396 section 9.2, RFC 8693 section 4.1.
_MEMBERS: Final = (
    *("iss", "sub", "client_id", "aud", "scope", "exp", "iat", "nbf", "jti"),
    *("cnf", "authorization_details", "act"),
)


class AccessTokenStore(Protocol):
    """What these tokens need of the register."""

    async def is_token_good(self, *, subject: str, token_id: str, issued_at: int) -> bool:
        """Say whether a token's device is enabled and no revocation concerns the token."""

    async def revoke_token(
        self, *, subject: str, token_id: str, issued_at: int, until: int, now: float, limit: int
    ) -> bool:
        """Revoke one token, durably; False where so many of its subject's are revoked already."""


class VerifyingKeys(Protocol):
    """What these tokens need of the key ring."""

    def key_set(self, now: float) -> KeySet:
        """Return the keys that signatures are verified with at a moment."""

    async def refresh(self) -> None:
        """Look whether there are others by now."""

    def is_unreadable(self, kid: str | None) -> bool:
        """Say whether there is a key of this name that this process cannot use."""


class SignedAccessTokens:
    """The lookup for JWT access tokens.

    Args:
        settings: The issuer and the audience that they name.
        keys: What their signatures are verified with.
        store: The register.
        audiences: Whom the tokens may be for; None: the server's own setting.
        any_audience: Whether they may be for anybody else, too: a resource that was taken out of
            the settings goes on taking the tokens that it was named in.
    """

    def __init__(
        self,
        settings: ServerSettings,
        keys: VerifyingKeys,
        store: AccessTokenStore,
        *,
        audiences: frozenset[str] | None = None,
        any_audience: bool = False,
    ) -> None:
        self._issuer = TrustedIssuer(
            name="this server",
            issuer=settings.issuer,
            audiences=audiences or settings.targets.audiences,
            algorithms=frozenset(ALGORITHMS),  # each key has one of its own
            required_scopes=frozenset(),  # also a token that was narrowed to less is one
        )
        # As the most patient resource server, and one whose clock is a day ahead or behind.
        self._patient = replace(self._issuer, leeway=MAX_LIFETIME, expiry_leeway=MAX_EXPIRY_LEEWAY)
        self._any_audience = any_audience
        self._keys = keys
        self._store = store

    async def find(self, token: str, now: float, *, good: bool = True) -> FoundToken | None:
        """Return the token if it is one of ours; see ``TokenLookup``."""
        issuer = self._issuer if good else self._patient
        try:
            verified = self._verified(token, issuer, now)
            if isinstance(verified, NeedKeys):  # another process may have made a key just now
                await self._keys.refresh()
                verified = self._verified(token, issuer, now)
        except TokenError as error:
            if error.code == "type_refused":  # looked at only where the iss is ours
                raise OtherTokenTypeError from None
            return None
        if isinstance(verified, NeedKeys) and self._keys.is_unreadable(verified.kid):
            raise OAuthError(
                "temporarily_unavailable", "try again later", reason="signing_key_unreadable"
            )
        if not isinstance(verified, VerifiedToken):  # signed with a key that there is not
            return None
        found = found_token(verified.claims.members)
        unrevoked = await self._store.is_token_good(
            subject=found.subject, token_id=found.token_id, issued_at=found.issued_at
        )
        return found if unrevoked else None

    def _verified(
        self, token: str, issuer: TrustedIssuer, now: float
    ) -> VerifiedToken | NeedKeys | NeedIntrospection:
        iss = issuer.issuer
        if self._any_audience:
            issuer = replace(issuer, audiences=_named_audiences(token) or issuer.audiences)
        return verify(token, {iss: issuer}, {iss: self._keys.key_set(now)}, now)

    async def revoke(self, found: FoundToken, now: float) -> bool:
        """Revoke the token by its ``jti``, until no resource server can take it for good."""
        return await self._store.revoke_token(
            subject=found.subject,
            token_id=found.token_id,
            issued_at=found.issued_at,
            until=token_revocation_until(found.expires_at),
            now=now,
            limit=MAX_REVOKED_TOKENS,
        )


def _named_audiences(token: str) -> frozenset[str]:
    """Return whom a token says that it is for, before anything of it is verified.

    Raises:
        TokenError: It is no JWT.
    """
    members = jws.json_object(jws.parse_compact(token).payload, "claims set")
    return frozenset(audience_of(members)) - {""}


def found_token(claims: Mapping[str, Any]) -> FoundToken:
    """Pick what is told about a token; all of RFC 9068's claims are there, ours or verified."""
    confirmation = claims.get("cnf")
    # RFC 9449 section 6.2: whoever reads DPoP here asks for the proof.
    kind = token_type(confirmation if isinstance(confirmation, Mapping) else {})
    members = {name: claims[name] for name in _MEMBERS if name in claims}
    return FoundToken(
        subject=claims["sub"],
        client_id=claims["client_id"],
        token_id=claims["jti"],
        issued_at=int(claims["iat"]),
        expires_at=int(claims["exp"]),
        members={**members, "token_type": kind},
    )

# SPDX-License-Identifier: Apache-2.0
"""Access tokens are made here: signed JWTs as RFC 9068 says."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Protocol

from keyfob.server.authorization_details import Detail
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.records import Record
from keyfob.server.refresh_token import RefreshToken
from keyfob.server.settings import ServerSettings
from keyfob.tokens.sign import SigningKey

__all__ = ["Access", "IssuedToken", "TokenIssuer", "told", "token_type"]


class Access(Record, frozen=True, kw_only=True):
    """What a grant allows a token to say.

    Args:
        subject: The device.
        client_id: The OAuth client that asked: the device itself, or an application.
        scopes: What the device is registered for.
        lifetime: The device's own token lifetime; None follows the server's default.
        revoked_through: A token with an ``iat`` up to here would be revoked from its birth.
        renewable: Whether a refresh token goes with it.
        secret_hash: Of the device's secret that was proven for that; it must still be registered
            when the refresh token is kept. None where none was.
        refresh_token: What it is renewed by; None where it is not by a refresh token.
        audience: Who it may be for (``aud``); None is the server's own setting, and whatever is
            registered where the request names it.
        closed: Whether the request can do no more than take scopes away: to name a target or
            details is refused, and ``audience`` need not be one of those that are registered.
        details: What it may say in ``authorization_details`` beside the scopes.
        device_code: SHA-256 of the device code that it uses up; None where it is not by one.
        ends_by: The latest ``exp`` it may have, in Unix seconds; None leaves it to the lifetime.
        claims: What it says beside that, such as ``act``; none of the claims named above.
        certificate: ``x5t#S256`` of the one that the client has to show; None: it need not.
        jkt: The thumbprint of the key that the request has to prove; None: any, or none.
        answer: What is told about it beside that, such as ``issued_token_type``.
        shown_confirmations: The ``cnf`` of each token that was shown to get this one; the request
            has to prove all of it.
        keep: Writes down what has to be on the disk before the token is given out; it may refuse.
    """

    hidden: ClassVar[frozenset[str]] = frozenset(
        {"secret_hash", "device_code", "shown_confirmations", "keep"}
    )

    subject: str
    client_id: str
    scopes: tuple[str, ...]
    lifetime: int | None
    revoked_through: int
    renewable: bool = False
    secret_hash: str | None = None
    refresh_token: RefreshToken | None = None
    device_code: bytes | None = None
    audience: str | tuple[str, ...] | None = None
    closed: bool = False
    details: tuple[Detail, ...] = ()
    ends_by: int | None = None
    claims: Mapping[str, object] = {}
    certificate: str | None = None
    jkt: str | None = None
    answer: Mapping[str, object] = {}
    shown_confirmations: tuple[Mapping[str, object], ...] = ()
    keep: Callable[[IssuedToken], Awaitable[None]] | None = None


class IssuedToken(Record, frozen=True, kw_only=True):
    """A token and what is told about it; ``refresh_token`` where one goes with it.

    ``cnf`` is the symmetric key that an opaque one is bound to (RFC 9201 section 3.2);
    ``headers`` go with the answer.
    ``members`` are what the answer says beside what the other fields do.
    """

    hidden: ClassVar[frozenset[str]] = frozenset({"access_token", "refresh_token", "cnf"})

    access_token: str
    token_id: str
    issued_at: int
    expires_in: int
    expires_at: int
    scope: str
    token_type: str = "Bearer"  # noqa: S105 - RFC 6750
    refresh_token: str | None = None
    cnf: Mapping[str, object] | None = None
    headers: Mapping[str, str] = {}
    members: Mapping[str, object] = {}


class SigningKeys(Protocol):
    """What the issuer needs of the key ring."""

    def signing_key(self, now: float) -> SigningKey:
        """Return the key that signs at a moment."""


class TokenIssuer:
    """Mints the tokens of one issuer.

    Args:
        settings: The issuer, the audience and the default lifetime.
        keys: What the tokens are signed with.
    """

    def __init__(self, settings: ServerSettings, keys: SigningKeys) -> None:
        self._settings = settings
        self._keys = keys

    def issue(
        self,
        access: Access,
        scopes: tuple[str, ...],
        *,
        now: float,
        confirmation: Mapping[str, object],
    ) -> IssuedToken:
        """Mint a token.

        Args:
            access: What a grant allowed.
            scopes: What the token says, already narrowed.
            now: Before anything was read for this token; its whole second is ``iat``, and the key
                of that moment signs.
            confirmation: What it is bound to (``cnf``, RFC 7800); empty for a bearer token.

        Raises:
            OAuthError: The key that has to sign now cannot be read, or it would have ended already.
        """
        claims = self.claims(access, scopes, now=int(now), confirmation=confirmation)
        text = self._keys.signing_key(now).sign(claims, typ="at+jwt")
        return told(text, access, claims)

    def claims(
        self,
        access: Access,
        scopes: tuple[str, ...],
        *,
        now: int,
        confirmation: Mapping[str, object],
    ) -> Mapping[str, Any]:
        """Return what a token says, whatever its form.

        Args:
            access: As in ``issue``.
            scopes: The same.
            now: ``iat``: the whole second of it.
            confirmation: The same.

        Raises:
            OAuthError: It would have ended already.
        """
        expires_at = now + (access.lifetime or self._settings.default_lifetime)
        if access.ends_by is not None:
            expires_at = min(expires_at, access.ends_by)
        if expires_at <= now:  # what it is derived from ends within this second
            raise OAuthError("invalid_grant", "the grant has expired", reason="grant_expired")
        claims: dict[str, object] = {
            "iss": self._settings.issuer,
            "sub": access.subject,
            "client_id": access.client_id,
            "aud": access.audience or self._settings.audience,
            "iat": now,
            "exp": expires_at,
            "jti": secrets.token_urlsafe(16),
        }
        if scopes:
            claims["scope"] = " ".join(scopes)
        claims |= access.claims
        if access.details:  # RFC 9396 section 9.1
            claims["authorization_details"] = [detail.members() for detail in access.details]
        if confirmation:
            claims["cnf"] = confirmation
        return claims


def told(text: str, access: Access, claims: Mapping[str, Any]) -> IssuedToken:
    """Return a token with what the answer tells about it.

    Args:
        text: The token.
        access: What it was made by.
        claims: What it says.
    """
    members = dict(access.answer)
    if access.details:  # RFC 9396 section 7
        members["authorization_details"] = claims["authorization_details"]
    return IssuedToken(
        access_token=text,
        token_id=claims["jti"],
        issued_at=claims["iat"],
        expires_in=claims["exp"] - claims["iat"],
        expires_at=claims["exp"],
        scope=claims.get("scope", ""),
        token_type=token_type(claims.get("cnf", {})),
        members=members,
    )


def token_type(confirmation: Mapping[str, object]) -> str:
    """Return what a token is called that is bound to this; it is no bearer's where it takes a key.

    RFC 9449 section 5, RFC 9200 section 5.8.4.2; a certificate's binding leaves it Bearer (RFC
    8705 section 3).
    """
    if "jkt" in confirmation:
        return "DPoP"
    return "PoP" if "jwk" in confirmation or "kid" in confirmation else "Bearer"

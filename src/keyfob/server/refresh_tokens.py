# SPDX-License-Identifier: Apache-2.0
"""Refresh tokens: begun with a login, replaced at each use, ended (RFC 6749 sections 5.1 and 6).

What an answer depends on is on the disk before the answer: a token that a client got is good after
a crash, and a family that was ended stays so.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from keyfob.errors import UpstreamError
from keyfob.server.issue import Access
from keyfob.server.lifetimes import RefreshLifetimes
from keyfob.server.oauth_errors import OAuthError, token_of_another, unavailable
from keyfob.server.refresh_family import Ended, Family, Seen, Standing
from keyfob.server.refresh_token import FAMILY_ID_BYTES, KEY_BYTES, RefreshToken

__all__ = ["FamilyStore", "RefreshTokens"]

_T = TypeVar("_T")


class FamilyStore(Protocol):
    """What refresh tokens need of a store; each method is one transaction, durable on return."""

    async def look(self, token: RefreshToken, client_id: str, *, now: float) -> Seen:
        """Say what a token is now, and of which family; changes nothing."""

    async def add(
        self,
        family: Family,
        *,
        issued_at: int,
        secret_hash: str | None,
        device_code: bytes | None = None,
    ) -> bool:
        """Keep a new family, and use a device code up with it.

        False where its device, secret or client was ended meanwhile, or the code was used.
        """

    async def use_device_code(self, device_code: bytes, client_id: str, *, now: float) -> bool:
        """Use a device code up, where no family goes with it; False where it was used."""

    async def use(
        self, token: RefreshToken, client_id: str, *, now: float, idle: float
    ) -> RefreshToken | Standing:
        """Replace a token and return its successor; end the family of one that was replaced."""

    async def end(self, token: RefreshToken, client_id: str, reason: str) -> Ended | None:
        """End the family of a token for its client or device; None for what is no token of ours."""


class RefreshTokens:
    """The refresh tokens of one server.

    Args:
        store: The families.
        lifetimes: How long a family lives.
        clock: Unix seconds.
    """

    def __init__(
        self, store: FamilyStore, lifetimes: RefreshLifetimes, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._lifetimes = lifetimes
        self._clock = clock

    async def open(self, text: str, client_id: str) -> tuple[RefreshToken, Family]:
        """Return a token that a client presented, and its family. The token stays as it is.

        Args:
            text: The token.
            client_id: Who presented it, authenticated.

        Raises:
            OAuthError: ``invalid_grant``: it is not good. The family of one that was replaced
                is ended before this is raised.
        """
        token = RefreshToken.parse(text)
        if token is None:
            raise _invalid_grant(Standing.UNKNOWN)
        seen = await _answered(self._store.look(token, client_id, now=self._clock()))
        if seen.family is None:
            raise _invalid_grant(Standing.UNKNOWN)
        if seen.standing is Standing.REUSED:
            await self._use(token, client_id, now=self._clock())
        if not seen.standing.good:
            raise _invalid_grant(seen.standing, seen.family.subject)
        return token, seen.family

    async def issue(
        self,
        access: Access,
        scopes: tuple[str, ...],
        *,
        now: float,
        jkt: str | None = None,
        certificate: str | None = None,
    ) -> str | None:
        """Return the refresh token that goes with an access token; None where none does.

        Args:
            access: What a grant allowed; a login begins a family, a refresh token is replaced,
                a device code is used up.
            scopes: What the access token says. A login grants these; a refresh changes nothing.
            now: When the request came; its whole second is the access token's ``iat``.
            certificate: ``x5t#S256`` of the one that a new family is bound to; None: to none.
            jkt: The thumbprint of the key that a login binds its family to; None: to none.

        Raises:
            OAuthError: ``invalid_grant``: it is not good any more;
                ``temporarily_unavailable``: the database could not be written.
        """
        if access.refresh_token is not None:
            found = await self._use(access.refresh_token, access.client_id, now=now)
            if isinstance(found, Standing):
                raise _invalid_grant(found)
            return found.encode()
        if access.renewable:
            return await self._begin(access, scopes, now=now, jkt=jkt, certificate=certificate)
        if access.device_code is not None:
            used = self._store.use_device_code(access.device_code, access.client_id, now=now)
            if not await _answered(used):
                raise _ended_meanwhile(access)
        return None

    async def revoke_family_of(self, token: str, client_id: str) -> str | None:
        """End the family of a refresh token, for its client or device (RFC 7009 section 2.1).

        Args:
            token: What was presented; also one that was replaced long ago.
            client_id: Who presented it, authenticated.

        Returns:
            The device, whose family is over now. None for what is no refresh token of ours, and
            nothing happened.

        Raises:
            OAuthError: ``unauthorized_client``: it is somebody else's;
                ``temporarily_unavailable``: the database could not be written.
        """
        known = RefreshToken.parse(token)
        if known is None:
            return None
        ended = await _answered(self._store.end(known, client_id, "revoked"))
        if ended is None:
            return None
        if not ended.done:
            raise token_of_another()
        return ended.subject

    async def _begin(
        self,
        access: Access,
        scopes: tuple[str, ...],
        *,
        now: float,
        jkt: str | None,
        certificate: str | None,
    ) -> str:
        family_id, key = secrets.token_bytes(FAMILY_ID_BYTES), secrets.token_bytes(KEY_BYTES)
        first = RefreshToken.first(key, family_id=family_id, secret=secrets.token_bytes(32))
        family = Family(
            family_id=family_id,
            client_id=access.client_id,
            subject=access.subject,
            scopes=scopes,
            key=key,
            counter=first.counter,
            digest=first.digest,
            previous=None,
            rotated_at=now,
            expires_at=now + min(self._lifetimes.idle, self._lifetimes.total),
            ends_at=now + self._lifetimes.total,
            certificate=certificate,
            jkt=jkt,
            audience=_audience(access.audience),
            details=access.details,
        )
        kept = self._store.add(
            family,
            issued_at=int(now),
            secret_hash=access.secret_hash,
            device_code=access.device_code,
        )
        if not await _answered(kept):
            raise _ended_meanwhile(access)
        return first.encode()

    async def _use(
        self, token: RefreshToken, client_id: str, *, now: float
    ) -> RefreshToken | Standing:
        idle = self._lifetimes.idle
        return await _answered(self._store.use(token, client_id, now=now, idle=idle))


def _audience(audience: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if audience is None:
        return ()
    return (audience,) if isinstance(audience, str) else audience


async def _answered(question: Awaitable[_T]) -> _T:
    """Wait for the store; nobody is told anything that is not on the disk."""
    try:
        return await question
    except UpstreamError as error:
        raise unavailable() from error


def _ended_meanwhile(access: Access) -> OAuthError:
    return OAuthError(
        "invalid_grant",
        "the grant is not valid",
        reason="ended_meanwhile",
        subject=access.subject,
    )


def _invalid_grant(found: Standing, subject: str = "") -> OAuthError:
    """Return the one answer for every token that is not good; the audit has the reason."""
    return OAuthError(
        "invalid_grant", "the refresh token is not valid", reason=found.value, subject=subject
    )

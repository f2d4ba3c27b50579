# SPDX-License-Identifier: Apache-2.0
"""Sessions of operators in browsers: one random token in a cookie, of which a hash is kept.

A session gets a new token at each sign-in, so that no token from before it is worth anything. It
ends when it was not used for a while, when its day is over, when its operator signs out, and when
his password or account goes.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from keyfob.errors import UpstreamError
from keyfob.server.oauth_errors import unavailable
from keyfob.server.operators import Session

__all__ = ["IDLE_SECONDS", "TOTAL_SECONDS", "SessionStore", "Sessions", "SignedIn"]

IDLE_SECONDS: Final = 900
TOTAL_SECONDS: Final = 8 * 3_600
# That a session is used is written down so often at most.
_SEEN_EVERY: Final = 60
_MAX_TOKEN_LENGTH: Final = 64


class SessionStore(Protocol):
    """What sessions need of a store; each change is one transaction, durable on return."""

    async def session(self, token_hash: bytes) -> Session | None:
        """Return a session whose operator is still one."""

    async def begin(
        self,
        token_hash: bytes,
        session: Session,
        *,
        password_hash: str | None,
        openid_subject: str | None,
        oldest: float,
    ) -> bool:
        """Keep a new session; False where the account has changed meanwhile."""

    async def seen(self, token_hash: bytes, at: float) -> None:
        """Write down when a session was used."""

    async def end(self, token_hash: bytes) -> None:
        """End a session."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """An operator in a browser, and the token that says so."""

    operator: str
    token: str = field(repr=False)

    @property
    def token_hash(self) -> bytes:
        """What is kept of the token."""
        return _hash(self.token)


class Sessions:
    """The sessions of one server.

    Args:
        store: Where they are kept.
        clock: Unix seconds.
    """

    def __init__(self, store: SessionStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def begin(
        self,
        operator: str,
        *,
        password_hash: str | None = None,
        openid_subject: str | None = None,
    ) -> SignedIn | None:
        """Begin a session; None where the account has changed since it was looked at.

        Args:
            operator: Who signed in.
            password_hash: What the password was compared with.
            openid_subject: Or who he is at the other issuer.

        Raises:
            OAuthError: ``temporarily_unavailable``: the database could not be written.
        """
        now, token = self._clock(), secrets.token_urlsafe(32)
        session = Session(operator=operator, created_at=now, seen_at=now)
        try:
            begun = await self._store.begin(
                _hash(token),
                session,
                password_hash=password_hash,
                openid_subject=openid_subject,
                oldest=now - TOTAL_SECONDS,
            )
        except UpstreamError as error:
            raise unavailable() from error
        return SignedIn(operator, token) if begun else None

    async def find(self, token: str) -> SignedIn | None:
        """Return who has a session by this token; None where it is none, or over.

        Raises:
            OAuthError: ``temporarily_unavailable``: the database could not be written.
        """
        if not 0 < len(token) <= _MAX_TOKEN_LENGTH:
            return None
        token_hash, now = _hash(token), self._clock()
        session = await self._store.session(token_hash)
        if session is None or now >= session.created_at + TOTAL_SECONDS:
            return None
        if now >= session.seen_at + IDLE_SECONDS:
            return None
        if now >= session.seen_at + _SEEN_EVERY:
            try:
                await self._store.seen(token_hash, now)
            except UpstreamError as error:
                raise unavailable() from error
        return SignedIn(session.operator, token)

    async def end(self, token: str) -> None:
        """End a session, if there is one.

        Raises:
            OAuthError: ``temporarily_unavailable``: the database could not be written.
        """
        if not 0 < len(token) <= _MAX_TOKEN_LENGTH:
            return
        try:
            await self._store.end(_hash(token))
        except UpstreamError as error:
            raise unavailable() from error


def _hash(token: str) -> bytes:
    """Return what is kept of a token. 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()

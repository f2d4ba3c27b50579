# SPDX-License-Identifier: Apache-2.0
"""Signing in with name and password: one answer and the same work for unknown and wrong."""

from __future__ import annotations

from typing import Protocol

from keyfob.server.admission import Admission, Asked
from keyfob.server.approval.sessions import Sessions, SignedIn
from keyfob.server.clients import ClientKind
from keyfob.server.limits import network_of
from keyfob.server.names import is_name
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.passwords import PasswordChecker

__all__ = ["AccountStore", "SignIn"]


class AccountStore(Protocol):
    """What signing in needs of a store."""

    async def has_operators(self) -> bool:
        """Say whether there is anybody who may sign in."""

    async def password_hash(self, name: str) -> str | None:
        """Return what an operator's password is compared with."""


class SignIn:
    """Lets operators in.

    Args:
        accounts: The operators.
        sessions: Where a session begins.
        checker: Verifies passwords.
        admission: Has the limits.
    """

    def __init__(
        self,
        accounts: AccountStore,
        sessions: Sessions,
        checker: PasswordChecker,
        admission: Admission,
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._checker = checker
        self._admission = admission

    async def is_possible(self) -> bool:
        """Say whether there is anybody who may sign in."""
        return await self._accounts.has_operators()

    async def __call__(self, name: str, password: str, asked: Asked) -> SignedIn:
        """Return a new session.

        Args:
            name: What was typed.
            password: The same.
            asked: Learns who it is, where there is such an operator: what was typed may be a
                password, and the audit must not have that.

        Raises:
            OAuthError: ``invalid_grant``: name or password is wrong; ``temporarily_unavailable``:
                too many tries, or the database could not be written.
        """
        async with self._admission.attempt(f"operator~{name}", asked) as attempt:
            stored = await self._accounts.password_hash(name) if is_name(name) else None
            if stored is not None:
                asked.operator = name
            network = network_of(asked.peer)
            right = await self._checker.verify(password, stored, network=network)
            if not right or stored is None:
                raise _wrong("operator_unknown" if stored is None else "operator_password_wrong")
            signed_in = await self._sessions.begin(name, password_hash=stored)
            if signed_in is None:
                raise _wrong("operator_unknown")
            attempt.proved(ClientKind.DEVICE)  # as many requests as a device, no more
        return signed_in


def _wrong(reason: str) -> OAuthError:
    return OAuthError("invalid_grant", "name or password is not right", reason=reason)

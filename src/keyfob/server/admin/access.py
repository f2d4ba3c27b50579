# SPDX-License-Identifier: Apache-2.0
"""Who may use the admin API: a service that shows an access token which is for this API alone.

The token says what was granted, the register what still holds: a service that is removed, or made
anew under its name, has nothing from that moment on, and no token allows more than its service is
registered for. docs/adr/0020-admin-tokens.md says why it is a token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from starlette.requests import Request

from keyfob.server.admin_scopes import ADMIN_SCOPES
from keyfob.server.admission import Admission, Asked
from keyfob.server.bearer import bearer_token
from keyfob.server.certificate_binding import bound_to_shown
from keyfob.server.clients import Client, ClientKind
from keyfob.server.issue import Access
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.token_lookup import FoundToken, OtherTokenTypeError, TokenLookup

__all__ = [
    "ADMIN_TOKEN_LIFETIME",
    "AdminAccess",
    "Caller",
    "admin_access",
]

# A token is fetched for a piece of work; whoever finds one later finds nothing.
ADMIN_TOKEN_LIFETIME: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A service that asks.

    Args:
        client_id: Which one.
        scopes: What it may do: what its token says and what it is still registered for.
    """

    client_id: str
    scopes: frozenset[str]


class Services(Protocol):
    """What is asked of the register."""

    async def find_client(self, client_id: str) -> Client | None:
        """Return a client by name."""


def admin_access(client: Client, audience: str) -> Access:
    """Return what the token of a service may say: its admin scopes, to the admin API."""
    return Access(
        subject=client.client_id,
        client_id=client.client_id,
        scopes=tuple(scope for scope in client.scopes if scope in ADMIN_SCOPES),
        lifetime=ADMIN_TOKEN_LIFETIME,
        # A token of the second in which it was made could be that of one before, of its name.
        revoked_through=max(client.revoked_through, int(client.created_at)),
        audience=audience,
        closed=True,
    )


class AdminAccess:
    """The door of the admin API.

    Args:
        admission: Counts mistakes, and tells the audit of refusals.
        tokens: Finds the tokens for this API.
        services: The register.
        clock: Unix seconds.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        tokens: TokenLookup,
        services: Services,
        clock: Callable[[], float],
    ) -> None:
        self._admission = admission
        self._tokens = tokens
        self._services = services
        self._clock = clock

    async def admit(self, request: Request, scope: str) -> Caller:
        """Return who asks, if it may do what needs this scope.

        Raises:
            OAuthError: ``invalid_token``, ``insufficient_scope``, or ``temporarily_unavailable``
                (429 for limits); the audit knows of it already.
        """
        asked = Asked.of(request, "admin")
        try:
            found = await self._found(bearer_token(request))
            if "cnf" in found.members and not bound_to_shown(request, found.members["cnf"]):
                raise _refused("token_is_bound")  # proofs of keys are not looked at here
            asked.client_id = found.client_id
            async with self._admission.attempt(found.client_id, asked) as attempt:
                client = await self._service(found)
                attempt.proved(client.kind)
            caller = _caller(found, client)
            _check_scope(scope, caller)
        except OAuthError as error:
            raise await self._admission.refused(asked, error) from None
        return caller

    async def _found(self, token: str) -> FoundToken:
        try:
            found = await self._tokens.find(token, self._clock())
        except OtherTokenTypeError:
            found = None
        if found is None:
            raise _refused("token_not_good")
        if found.subject != found.client_id or "act" in found.members:
            raise _refused("token_of_another")
        return found

    async def _service(self, found: FoundToken) -> Client:
        client = await self._services.find_client(found.client_id)
        if client is None or client.kind is not ClientKind.SERVICE or not client.enabled:
            raise _refused("service_unknown")
        if found.issued_at <= int(client.created_at):  # to an earlier one of this name
            raise _refused("service_is_another")
        return client


def _caller(found: FoundToken, client: Client) -> Caller:
    granted = str(found.members.get("scope", "")).split()
    held = frozenset(scope for scope in granted if scope in client.scopes)
    return Caller(client_id=client.client_id, scopes=held)


def _check_scope(scope: str, caller: Caller) -> None:
    if scope not in caller.scopes:
        raise OAuthError(
            "insufficient_scope", f"needs the scope {scope}", reason="admin_scope_missing"
        )


def _refused(reason: str) -> OAuthError:
    return OAuthError("invalid_token", "the access token is not good here", reason=reason)

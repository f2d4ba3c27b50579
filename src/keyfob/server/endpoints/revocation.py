# SPDX-License-Identifier: Apache-2.0
"""``POST /oauth2/revoke``: a client ends a token that it has (RFC 7009).

The steps, in this order, each with the error it may end in:

    1 the form                       invalid_request
    2 who asks                       invalid_client
    3 the token                      unsupported_token_type
    4 issued to this client, or for  unauthorized_client
    5 on the disk                    temporarily_unavailable

A token that is unknown, or not good any more, is what the client wanted: 200 (section 2.2). What
is answered with 200 holds from then on here, and reaches guards by ``/oauth2/revocations``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from keyfob.errors import UpstreamError
from keyfob.http.json_response import NO_STORE
from keyfob.server.audit import AuditSink, TokenEvent
from keyfob.server.client_authentication import ClientAuthenticator, presented
from keyfob.server.clients import Client, ClientKind
from keyfob.server.forms import read_form
from keyfob.server.limits import Limits, NoLimits
from keyfob.server.names import shown_name
from keyfob.server.oauth_errors import OAuthError, error_response, invalid_request
from keyfob.server.token_lookup import FoundToken, OtherTokenTypeError, TokenLookup, find_token

__all__ = ["RevocationEndpoint"]


@dataclass(slots=True)
class _Request:
    """One request on its way through the steps, for the audit."""

    peer: str
    client_id: str = ""
    named: bool = False
    subject: str = ""


class RefreshFamilies(Protocol):
    """Refresh tokens, which end as a family."""

    async def revoke_family_of(self, token: str, client_id: str) -> bool:
        """End the family of a refresh token that was issued to a client; say whether it is one."""


class RevocationEndpoint:
    """Ends tokens.

    Args:
        authenticator: Checks who asks.
        lookups: The kinds of access token there are.
        refresh_tokens: The other kind; the whole family ends (RFC 7009 section 2.1).
        audit: Is told of every token that was ended, and of every refusal.
        clock: Unix seconds.
        limits: How often somebody may ask and be wrong.
    """

    def __init__(
        self,
        *,
        authenticator: ClientAuthenticator,
        lookups: Sequence[TokenLookup],
        refresh_tokens: RefreshFamilies,
        audit: AuditSink,
        clock: Callable[[], float],
        limits: Limits | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._lookups = lookups
        self._refresh_tokens = refresh_tokens
        self._audit = audit
        self._clock = clock
        self._limits = limits or Limits(NoLimits())

    async def post(self, request: Request) -> Response:
        """Answer one request (RFC 7009 section 2.2)."""
        asked = _Request(peer=request.client.host if request.client else "")
        try:
            ended = await self._end(request, asked)
        except OAuthError as error:
            refused = error if asked.named else await self._limits.nameless(asked.peer, error)
            if refused.told:
                self._audit(self._refused(asked, refused))
            return error_response(refused)
        if ended is not None:
            self._audit(self._event_of(asked, ended))
        return Response(status_code=200, headers=NO_STORE)

    async def _end(self, request: Request, asked: _Request) -> FoundToken | None:
        parameters = await read_form(request)
        asked.client_id = parameters.get("client_id", "")
        credentials = presented(request.headers.getlist("authorization"), parameters)
        asked.client_id = credentials.client_id
        asked.named = True
        async with self._limits.attempt(credentials.client_id, asked.peer) as attempt:
            client = await self._authenticator.authenticate(credentials)
            if not client.public:
                attempt.proved(client.kind)
        token = parameters.get("token")
        if token is None:
            raise invalid_request("token is required", reason="parameter_missing")
        if await self._refresh_tokens.revoke_family_of(token, client.client_id):
            return _a_family_of(client)
        hint = parameters.get("token_type_hint", "")
        now = self._clock()
        try:
            match = await find_token(self._lookups, token, hint=hint, now=now)
        except OtherTokenTypeError:
            raise OAuthError(
                "unsupported_token_type",
                "tokens of this type cannot be revoked",
                reason="type_refused",
            ) from None
        if match is None:
            return None
        lookup, found = match
        asked.subject = found.subject
        _check_owner(client, found)
        await _revoke(lookup, found, now)
        return found

    def _event_of(self, asked: _Request, ended: FoundToken) -> TokenEvent:
        return TokenEvent(
            at=self._clock(),
            outcome="revoked",
            peer=asked.peer,
            request="revocation",
            client_id=asked.client_id,
            subject=ended.subject,
            token_id=ended.token_id,
            expires_at=ended.expires_at,
        )

    def _refused(self, asked: _Request, error: OAuthError) -> TokenEvent:
        return TokenEvent(
            at=self._clock(),
            outcome="refused",
            peer=asked.peer,
            request="revocation",
            client_id=shown_name(asked.client_id),
            subject=shown_name(asked.subject),
            error=error.error,
            reason=error.reason,
        )


def _check_owner(client: Client, found: FoundToken) -> None:
    """Let a client end what was issued to it, and a device what was issued for it.

    RFC 7009 section 2.1 knows the first. The second is a device's own word about its rights: it
    may end what an application got with them.
    """
    is_own = client.kind is ClientKind.DEVICE and client.client_id == found.subject
    if not is_own and client.client_id != found.client_id:
        raise OAuthError(
            "unauthorized_client",
            "the token was issued to another client",
            reason="token_of_another",
        )


def _a_family_of(client: Client) -> FoundToken:
    return FoundToken(
        subject="",
        client_id=client.client_id,
        token_id="",
        issued_at=0,
        expires_at=0,
        members={},
    )


async def _revoke(lookup: TokenLookup, found: FoundToken, now: float) -> None:
    # RFC 7009 section 2.2.1: after a 503 the client takes the token for good, and tries again.
    try:
        done = await lookup.revoke(found, now)
    except UpstreamError:
        raise _not_now("store_unavailable") from None
    if not done:
        raise _not_now("too_many_revocations")


def _not_now(reason: str) -> OAuthError:
    return OAuthError("temporarily_unavailable", "try again later", reason=reason)

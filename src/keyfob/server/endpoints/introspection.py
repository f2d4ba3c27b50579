# SPDX-License-Identifier: Apache-2.0
"""``POST /oauth2/introspect``: whether a token is good, and what it says (RFC 7662).

The steps, in this order, each with the error it may end in:

    1 the form                       invalid_request
    2 who asks                       invalid_client
    3 registered to ask              insufficient_scope
    4 the token

Step 4 has no error: of a token that is not good, for whatever reason, nothing but that is told
(RFC 7662 section 2.2). Who may ask is registered for it by the operator, so that nobody can try
tokens out here (section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from keyfob.http.json_response import NO_STORE, json_response
from keyfob.server.audit import AuditSink, TokenEvent
from keyfob.server.client_authentication import ClientAuthenticator, presented
from keyfob.server.clients import INTROSPECTION_SCOPE
from keyfob.server.forms import read_form
from keyfob.server.limits import Limits, NoLimits
from keyfob.server.names import shown_name
from keyfob.server.oauth_errors import OAuthError, error_response, invalid_request
from keyfob.server.token_lookup import OtherTokenTypeError, TokenLookup, find_token

__all__ = ["IntrospectionEndpoint"]


@dataclass(slots=True)
class _Request:
    """One request on its way through the steps, for the audit."""

    peer: str
    client_id: str = ""
    named: bool = False


class IntrospectionEndpoint:
    """Tells about tokens.

    Args:
        authenticator: Checks who asks.
        lookups: The kinds of token there are.
        audit: Is told of every refusal.
        clock: Unix seconds.
        limits: How often somebody may ask and be wrong.
    """

    def __init__(
        self,
        *,
        authenticator: ClientAuthenticator,
        lookups: Sequence[TokenLookup],
        audit: AuditSink,
        clock: Callable[[], float],
        limits: Limits | None = None,
    ) -> None:
        self._authenticator = authenticator
        self._lookups = lookups
        self._audit = audit
        self._clock = clock
        self._limits = limits or Limits(NoLimits())

    async def post(self, request: Request) -> Response:
        """Answer one question (RFC 7662 sections 2.2 and 2.3)."""
        asked = _Request(peer=request.client.host if request.client else "")
        try:
            parameters = await self._admitted(request, asked)
        except OAuthError as error:
            refused = error if asked.named else await self._limits.nameless(asked.peer, error)
            if refused.told:
                self._audit(self._refused(asked, refused))
            return error_response(refused)
        return json_response(await self._answer(parameters), headers=NO_STORE)

    async def _admitted(self, request: Request, asked: _Request) -> Mapping[str, str]:
        parameters = await read_form(request)
        asked.client_id = parameters.get("client_id", "")
        credentials = presented(request.headers.getlist("authorization"), parameters)
        asked.client_id = credentials.client_id
        asked.named = True
        async with self._limits.attempt(credentials.client_id, asked.peer) as attempt:
            client = await self._authenticator.authenticate(credentials)
            if not client.public:
                attempt.proved(client.kind)
        if INTROSPECTION_SCOPE not in client.scopes:
            raise OAuthError(
                "insufficient_scope",
                f"needs the scope {INTROSPECTION_SCOPE}",
                reason="not_for_introspection",
            )
        if "token" not in parameters:
            raise invalid_request("token is required", reason="parameter_missing")
        return parameters

    async def _answer(self, parameters: Mapping[str, str]) -> Mapping[str, object]:
        token, hint = parameters["token"], parameters.get("token_type_hint", "")
        try:
            match = await find_token(self._lookups, token, hint=hint, now=self._clock())
        except OtherTokenTypeError:
            match = None
        return {"active": False} if match is None else {"active": True, **match[1].members}

    def _refused(self, asked: _Request, error: OAuthError) -> TokenEvent:
        return TokenEvent(
            at=self._clock(),
            outcome="refused",
            peer=asked.peer,
            request="introspection",
            client_id=shown_name(asked.client_id),
            error=error.error,
            reason=error.reason,
        )

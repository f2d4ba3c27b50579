# SPDX-License-Identifier: Apache-2.0
"""``POST /oauth2/introspect``: whether a token is good, and what it says (RFC 7662).

The steps, in this order, each with the error it may end in:

    1 the form                       invalid_request
    2 who asks                       invalid_client
    3 registered to ask              insufficient_scope
    4 the token                      temporarily_unavailable

Step 4 says little: of a token that is not good, for whatever reason, nothing but that is told
(RFC 7662 section 2.2). Who may ask is registered for it by the operator, so that nobody can try
tokens out here (section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from keyfob.http.json_response import NO_STORE, json_response
from keyfob.server.admission import Admission, Asked
from keyfob.server.clients import INTROSPECTION_SCOPE, PROOF_KEY_SCOPE, Client
from keyfob.server.forms import read_form
from keyfob.server.oauth_errors import OAuthError, invalid_request
from keyfob.server.token_lookup import OtherTokenTypeError, TokenLookup

__all__ = ["IntrospectionEndpoint"]


class IntrospectionEndpoint:
    """Tells about tokens.

    Args:
        admission: Lets in who may ask.
        tokens: Those that there are.
        clock: Unix seconds.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        tokens: TokenLookup,
        clock: Callable[[], float],
    ) -> None:
        self._admission = admission
        self._tokens = tokens
        self._clock = clock

    async def post(self, request: Request) -> Response:
        """Answer one question (RFC 7662 sections 2.2 and 2.3)."""
        asked = Asked.of(request, "introspection")
        try:
            client, parameters = await self._admitted(request, asked)
            answer = await self._answer(client, parameters)
        except OAuthError as error:
            return await self._admission.refuse(asked, error)
        return json_response(answer, headers=NO_STORE)

    async def _admitted(self, request: Request, asked: Asked) -> tuple[Client, Mapping[str, str]]:
        parameters = await read_form(request)
        client, _ = await self._admission.prove(request, parameters, asked)
        if INTROSPECTION_SCOPE not in client.scopes:
            raise OAuthError(
                "insufficient_scope",
                f"needs the scope {INTROSPECTION_SCOPE}",
                reason="not_for_introspection",
            )
        if "token" not in parameters:
            raise invalid_request("token is required", reason="parameter_missing")
        return client, parameters

    async def _answer(self, client: Client, parameters: Mapping[str, str]) -> Mapping[str, object]:
        try:
            found = await self._tokens.find(parameters["token"], self._clock())
        except OtherTokenTypeError:
            found = None
        if found is None:
            return {"active": False}
        answer = {"active": True, **found.members}
        if found.proof_key is not None and PROOF_KEY_SCOPE in client.scopes:
            # RFC 9201 section 4; for anybody else the token stays bound to a key by its name.
            answer["cnf"] = {"jwk": found.proof_key}
        return answer

# SPDX-License-Identifier: Apache-2.0
"""``POST /oauth2/device_authorization``: a client asks for a device code (RFC 8628 section 3.1).

``login_hint`` names the device that the tokens shall be for; without it the approver says which one
it is. Either way nothing is looked up here: whether there is such a device, the approver learns.

An approver reads scopes. What the page does not show cannot be asked for here:
``authorization_details`` (RFC 9396) and any ``resource`` but the server's own (RFC 8707).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from keyfob.authorization.syntaxes.scopes import is_scope_token
from keyfob.http.json_response import NO_STORE, json_response
from keyfob.server.admission import Admission, Asked
from keyfob.server.clients import DEVICE_CODE
from keyfob.server.device_codes import BegunRequest, DeviceCodes
from keyfob.server.forms import read_form
from keyfob.server.names import is_name
from keyfob.server.oauth_errors import OAuthError, invalid_request
from keyfob.server.resources import REPEATABLE, Resources

__all__ = ["DeviceAuthorizationEndpoint"]

# It is kept until the request's end, and an approver has to read it.
_MAX_SCOPE_LENGTH: Final = 2_000


class DeviceAuthorizationEndpoint:
    """Begins requests that a person has to approve.

    Args:
        admission: Lets in who may ask.
        codes: The device codes.
        resources: Whom tokens may be for.
        page: The URL where a person approves.
    """

    def __init__(
        self, *, admission: Admission, codes: DeviceCodes, resources: Resources, page: str
    ) -> None:
        self._admission = admission
        self._codes = codes
        self._resources = resources
        self._page = page

    async def post(self, request: Request) -> Response:
        """Answer one request (RFC 8628 section 3.2)."""
        asked = Asked.of(request, "device_authorization")
        try:
            begun = await self._begin(request, asked)
        except OAuthError as error:
            return await self._admission.refuse(asked, error)
        document = {
            "device_code": begun.device_code,
            "user_code": begun.user_code,
            "verification_uri": self._page,
            # The alphabet of a user code needs no encoding.
            "verification_uri_complete": f"{self._page}?user_code={begun.user_code}",
            "expires_in": begun.expires_in,
            "interval": begun.interval,
        }
        return json_response(document, headers=NO_STORE)

    async def _begin(self, request: Request, asked: Asked) -> BegunRequest:
        parameters = {}
        if not _is_empty(request):
            parameters = await read_form(request, repeatable=REPEATABLE)
        client, _ = await self._admission.prove(request, parameters, asked)
        if DEVICE_CODE not in client.grants:
            raise OAuthError(
                "unauthorized_client",
                "the client is not registered for this grant",
                reason="grant_not_registered",
            )
        asked.grant_type = DEVICE_CODE
        hint = asked.subject = _hint(parameters)
        self._check_shown(parameters)
        return await self._codes.begin(
            client.client_id, peer=asked.peer, scope=_scope(parameters), hint=hint
        )

    def _check_shown(self, parameters: Mapping[str, str]) -> None:
        """Refuse to ask for what the approver would not see."""
        if "authorization_details" in parameters:
            raise OAuthError(
                "invalid_authorization_details",
                "a person approves scopes; name the details with the device code, to have less",
                reason="details_not_shown",
            )
        self._resources.targets(parameters, held=(self._resources.default,), by_name=False)


def _is_empty(request: Request) -> bool:
    """Say whether there is no form: a client that authenticates by HTTP Basic needs none."""
    headers = request.headers
    without = not any(name in headers for name in ("content-type", "transfer-encoding"))
    return without and headers.get("content-length", "0") == "0" and not request.url.query


def _scope(parameters: Mapping[str, str]) -> str | None:
    scope = parameters.get("scope")
    if scope is None:
        return None
    if len(scope) > _MAX_SCOPE_LENGTH or not all(map(is_scope_token, scope.split(" "))):
        raise OAuthError("invalid_scope", "the scope is malformed", reason="scope_malformed")
    return scope


def _hint(parameters: Mapping[str, str]) -> str:
    hint = parameters.get("login_hint", "")
    if hint and not is_name(hint):
        raise invalid_request("login_hint has to be a device's name", reason="hint_malformed")
    return hint

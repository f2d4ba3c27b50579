# SPDX-License-Identifier: Apache-2.0
"""``/oauth2/register``: clients register, and manage their registration (RFC 7591, RFC 7592).

The steps, in this order, each with the error it may end in:

    1 the token           invalid_token
    2 the document        invalid_client_metadata
    3 whose token it is   invalid_token, temporarily_unavailable (429: ``limits``)
    4 what it asks for    invalid_client_metadata, invalid_software_statement

``POST`` shows an initial access token of the operator. Everything below ``/oauth2/register/`` shows
the registration access token of that one client; unknown and wrong are the same answer.
Whoever is wrong uses up what his network, or that client from there, may be wrong.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from keyfob.errors import UpstreamError
from keyfob.http.json_response import NO_STORE, json_response
from keyfob.server.admission import Admission, Asked
from keyfob.server.bearer import bearer_error, bearer_token
from keyfob.server.clients import ClientKind
from keyfob.server.json_body import JsonBodyError, read_json
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.registration.registrar import Registered, Registrar

__all__ = ["REGISTRATION_PATH", "RegistrationEndpoint"]

REGISTRATION_PATH: Final = "/oauth2/register"
_T = TypeVar("_T")


class RegistrarThread(Protocol):
    """Where the register is written."""

    async def with_registrar(self, work: Callable[[Registrar], _T]) -> _T:
        """Do some work; what it changed is on the disk when this returns."""


class RegistrationEndpoint:
    """Registers clients.

    Args:
        admission: Counts mistakes, and tells the audit of refusals.
        registrar: Does it.
        base: The URL that paths are appended to.
    """

    def __init__(self, *, admission: Admission, registrar: RegistrarThread, base: str) -> None:
        self._admission = admission
        self._registrar = registrar
        self._base = base

    async def post(self, request: Request) -> Response:
        """Register a client (RFC 7591 section 3)."""

        async def registered(asked: Asked) -> Response:
            token = bearer_token(request)
            document = await _document(request)
            await self._wait_for_its_turn(asked)
            # What is no name is not shown in the audit.
            asked.subject = str(document.get("device_id", ""))
            made = await self._registrar.with_registrar(
                lambda registrar: registrar.register(token, document)
            )
            return self._answer(made, status=201)

        return await self._answered(request, registered)

    async def managed(self, request: Request) -> Response:
        """Answer about one registration (RFC 7592 section 2)."""
        if request.method == "PUT":
            return await self.put(request)
        if request.method == "DELETE":
            return await self.delete(request)
        return await self.get(request)

    async def get(self, request: Request) -> Response:
        """Show a client its registration (RFC 7592 section 2.1)."""

        async def shown(asked: Asked) -> Response:
            token, client_id = bearer_token(request), request.path_params["client_id"]
            return self._answer(
                await self._managed(
                    client_id, asked, lambda registrar: registrar.read(client_id, token)
                )
            )

        return await self._answered(request, shown)

    async def put(self, request: Request) -> Response:
        """Let a client replace what it says of itself (RFC 7592 section 2.2)."""

        async def updated(asked: Asked) -> Response:
            token, client_id = bearer_token(request), request.path_params["client_id"]
            document = await _document(request)
            return self._answer(
                await self._managed(
                    client_id,
                    asked,
                    lambda registrar: registrar.update(client_id, token, document),
                )
            )

        return await self._answered(request, updated)

    async def delete(self, request: Request) -> Response:
        """Let a client go (RFC 7592 section 2.3)."""

        async def removed(asked: Asked) -> Response:
            token, client_id = bearer_token(request), request.path_params["client_id"]
            await self._managed(
                client_id, asked, lambda registrar: registrar.remove(client_id, token)
            )
            return Response(status_code=204, headers=dict(NO_STORE))

        return await self._answered(request, removed)

    async def _wait_for_its_turn(self, asked: Asked) -> None:
        """Refuse a network that has to wait: what is refused later is in the trail, each time."""
        async with self._admission.attempt(secrets.token_hex(), asked):
            asked.owing = True  # nobody was named

    async def _managed(self, client_id: str, asked: Asked, work: Callable[[Registrar], _T]) -> _T:
        asked.client_id = client_id
        async with self._admission.attempt(client_id, asked) as attempt:
            done = await self._registrar.with_registrar(work)
            if isinstance(done, Registered):
                attempt.proved(done.client.kind)
        return done

    async def _answered(
        self, request: Request, work: Callable[[Asked], Awaitable[Response]]
    ) -> Response:
        asked = Asked.of(request, "registration")
        try:
            try:
                return await work(asked)
            except UpstreamError:
                raise OAuthError(
                    "temporarily_unavailable", "try again later", reason="store_unavailable"
                ) from None
        except OAuthError as error:
            return bearer_error(await self._admission.refused(asked, error))

    def _answer(self, registered: Registered, *, status: int = 200) -> Response:
        document = _information(registered)
        client_id = registered.client.client_id
        document["registration_client_uri"] = f"{self._base}{REGISTRATION_PATH}/{client_id}"
        return json_response(document, headers=NO_STORE, status=status)


async def _document(request: Request) -> Mapping[str, Any]:
    try:
        document = await read_json(request)
    except JsonBodyError as error:
        raise OAuthError(
            "invalid_client_metadata", error.detail, reason=error.reason, status=error.status
        ) from None
    if not isinstance(document, dict):
        raise OAuthError(
            "invalid_client_metadata", "the body is no JSON object", reason="json_malformed"
        )
    return document


def _information(registered: Registered) -> dict[str, object]:
    """Return what a client is told of itself (RFC 7591 section 3.2.1)."""
    client, metadata = registered.client, registered.client.metadata
    document: dict[str, object] = {
        "client_id": client.client_id,
        "client_id_issued_at": int(client.created_at),
    }
    if registered.secret is not None:
        document |= {"client_secret": registered.secret, "client_secret_expires_at": 0}
    document |= {
        "registration_access_token": registered.access_token,
        "token_endpoint_auth_method": metadata.token_endpoint_auth_method,
        "grant_types": client.grants,
        "response_types": (),
    }
    if client.kind is ClientKind.DEVICE:
        document["scope"] = " ".join(client.scopes)
    if client.jwks is not None:
        document["jwks"] = msgspec.Raw(client.jwks.encode())
    if metadata.dpop_bound_access_tokens:
        document["dpop_bound_access_tokens"] = True
    said = {
        name: getattr(metadata, name) for name in ("client_name", "software_id", "software_version")
    }
    return document | {name: value for name, value in said.items() if value}

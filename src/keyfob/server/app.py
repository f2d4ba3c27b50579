# SPDX-License-Identifier: Apache-2.0
"""The ASGI application: which path leads to which endpoint, and what each one is made of.

Which endpoint takes which step (the order is the endpoints' own matter):

    step                          token   revocations   jwks   metadata   healthz
    form in the body                x
    client authentication           x         x
      by HTTP Basic                 x         x
      by form parameters            x
    grant and scope                 x
    service scope                             x
    never stored by caches          x         x                              x
    public, cacheable                                     x        x

There are no globals: two applications in one process share nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keyfob.server.audit import AuditSink, ignore
from keyfob.server.client_authentication import ClientAuthenticator
from keyfob.server.credentials import SecretVerifier, verify_secret
from keyfob.server.endpoints.health import HealthEndpoint
from keyfob.server.endpoints.jwks import KeySetEndpoint
from keyfob.server.endpoints.metadata import (
    JWKS_PATH,
    REVOCATIONS_PATH,
    TOKEN_PATH,
    MetadataEndpoint,
    metadata_paths,
)
from keyfob.server.endpoints.revocations import RevocationsEndpoint
from keyfob.server.endpoints.token import TokenEndpoint
from keyfob.server.grants import Grant
from keyfob.server.grants.client_credentials import ClientCredentials
from keyfob.server.grants.password import Password
from keyfob.server.issue import TokenIssuer, signing_keys
from keyfob.server.last_tokens import LastTokens
from keyfob.server.oauth_errors import OAuthError, error_response, invalid_request
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.serving import ServingStore
from keyfob.server.stores.sqlite import SqliteStore, open_store
from keyfob.server.stores.writer import Writer

__all__ = ["create_app"]


def create_app(
    settings: ServerSettings,
    *,
    audit: AuditSink = ignore,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    verify: SecretVerifier = verify_secret,
) -> Starlette:
    """Make the authorization server.

    The register is opened here, so that a wrong one is an error before anything listens; it is
    closed when the application's lifespan ends. ``app.state.stopping`` is an ``asyncio.Event``:
    whoever stops the server sets it first, and waiting readers of the revocations go home.

    Args:
        settings: Issuer, audience, database.
        audit: Is told of each token that is issued or refused, and of each refused guard.
        clock: Unix seconds.
        sleep: Waits for some seconds.
        verify: Compares a client's secret with the stored hash.

    Raises:
        ConfigError: The register cannot be used.
    """
    store = open_store(settings.database)
    writer = Writer(settings.database)
    reads = ServingStore(store, writer, clock=clock)
    keys = signing_keys(store, clock=clock)
    last_tokens = LastTokens(writer)
    stopping = asyncio.Event()
    authenticator = ClientAuthenticator(reads, verify)
    grants: list[Grant] = [ClientCredentials(), Password(reads, verify)]
    token = TokenEndpoint(
        authenticator=authenticator,
        grants={grant.grant_type: grant for grant in grants},
        issuer=TokenIssuer(settings, keys[0]),
        issued=last_tokens.note,
        audit=audit,
        clock=clock,
        sleep=sleep,
    )
    revocations = RevocationsEndpoint(
        authenticator=authenticator, store=reads, audit=audit, clock=clock, stopping=stopping
    )
    metadata = MetadataEndpoint(settings, reads)
    at = settings.path
    app = Starlette(
        routes=[
            Route(at + TOKEN_PATH, token.post, methods=["POST"]),
            Route(at + REVOCATIONS_PATH, revocations.get),
            Route(at + JWKS_PATH, KeySetEndpoint(keys).get),
            *(Route(path, metadata.get) for path in metadata_paths(settings)),
            Route("/healthz", HealthEndpoint(reads).get),
        ],
        exception_handlers={HTTPException: _not_here, Exception: _server_error},
        lifespan=lambda _: _lifespan(store, last_tokens),
    )
    # A redirect would be built from the request's Host header, and no client follows one with POST.
    app.router.redirect_slashes = False
    app.state.stopping = stopping
    return app


@contextlib.asynccontextmanager
async def _lifespan(store: SqliteStore, last_tokens: LastTokens) -> AsyncIterator[None]:
    flushing = asyncio.create_task(last_tokens.run())
    try:
        yield
    finally:
        flushing.cancel()
        async with contextlib.AsyncExitStack() as closing:  # each of them, whatever fails
            closing.callback(store.close)
            closing.push_async_callback(last_tokens.close)
            with contextlib.suppress(asyncio.CancelledError):
                await flushing


async def _not_here(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Answer for a path or a method that there is not; Allow says which methods there are."""
    if not isinstance(error, HTTPException):
        raise error
    answer = error_response(
        invalid_request(
            "no such path, or not with this method", reason="no_route", status=error.status_code
        )
    )
    answer.headers.update(error.headers or {})
    return answer


async def _server_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Answer in the endpoints' own form; Starlette raises the error again, for the log."""
    return error_response(OAuthError("server_error", "the server failed", reason="exception"))

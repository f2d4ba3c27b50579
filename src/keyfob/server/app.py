# SPDX-License-Identifier: Apache-2.0
"""The ASGI application: which path leads to which endpoint, and what each one is made of.

Which endpoint takes which step (the order is the endpoints' own matter):

    step                          token   revocations   jwks   metadata   healthz, readyz
    form in the body                x
    client authentication           x         x
      by HTTP Basic                 x         x
      by form parameters            x
      by a signed assertion         x
      by a certificate              x
    grant and scope                 x
    refresh token                   x
    key to be bound to              x
    service scope                             x
    limits (429)                    x         x
    never stored by caches          x         x                              x
    public, cacheable                                     x        x

``introspect`` and ``revoke`` take a form and authenticate as ``token`` does; the former wants a
service scope, the latter the token's own client; both count towards the limits.
Neither answer is ever stored by caches. ``device_authorization`` takes a form, authenticates and
counts as ``token`` does; the pages below ``/device`` are for people: ``approval.endpoint``
has their own table. ``/oauth2/register`` and ``/admin/v1`` take a bearer token and JSON, count
towards the limits, and change the register in a thread of their own.

There are no globals: two applications in one process share nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from keyfob.errors import UpstreamError
from keyfob.http.proxy import BehindProxy
from keyfob.server.approval.routes import approval_routes
from keyfob.server.audit import AuditSink, ignore
from keyfob.server.credentials import SecretVerifier, verify_secret
from keyfob.server.endpoints.direct import Direct
from keyfob.server.endpoints.health import HealthEndpoints
from keyfob.server.endpoints.metadata import TOKEN_PATH
from keyfob.server.events.deliveries import Deliveries
from keyfob.server.events.told import DeliveryAudit, ignore_deliveries
from keyfob.server.granting import token_endpoint
from keyfob.server.lifespan import lifespan
from keyfob.server.limits import LimitStore
from keyfob.server.oauth_errors import not_here, server_error, store_unavailable
from keyfob.server.openid.provider import OpenIdIssuer
from keyfob.server.parts import Parts, make_parts, open_register
from keyfob.server.passwords import PasswordChecker
from keyfob.server.readiness import Readiness
from keyfob.server.routes import health_routes, oauth_routes, register_routes
from keyfob.server.settings import ServerSettings
from keyfob.server.signing.events import KeyAudit, ignore_keys
from keyfob.server.stores.readiness import StoredReadiness
from keyfob.server.stores.serving_receivers import ServingReceivers

__all__ = ["create_app"]


def create_app(
    settings: ServerSettings,
    *,
    audit: AuditSink = ignore,
    key_audit: KeyAudit = ignore_keys,
    delivery_audit: DeliveryAudit = ignore_deliveries,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    verify: SecretVerifier = verify_secret,
    limits: LimitStore | None = None,
) -> Starlette:
    """Make the authorization server.

    The register is opened here, so that a wrong one is an error before anything listens; it is
    closed when the application's lifespan ends. ``app.state.stopping`` is an ``asyncio.Event``:
    whoever stops the server sets it first, and waiting readers of the revocations go home.
    ``app.state.health`` and ``app.state.limits`` are for whoever shows them to operators.

    Args:
        settings: Issuer, audience, database.
        audit: Is told of each token that is issued or refused, and of each refused guard.
        key_audit: Is told of each change of the signing keys.
        delivery_audit: Is told what is out of the usual with the receivers of security events.
        clock: Unix seconds.
        sleep: Waits for some seconds.
        verify: Compares a client's secret with the stored hash.
        limits: Counts who asks how often; None counts in this process, by the settings.

    Raises:
        ConfigError: The register or a signing key cannot be used.
    """
    openid = None
    if settings.openid is not None:
        openid = OpenIdIssuer(settings.openid, clock, time.monotonic)
    parts = make_parts(
        settings,
        open_register(settings, clock),
        audit=audit,
        key_audit=key_audit,
        clock=clock,
        verify=verify,
        limits=limits,
    )
    receivers = ServingReceivers(parts.opened.reading, parts.opened.writer)
    deliveries = _deliveries(parts, receivers, delivery_audit)
    token = token_endpoint(parts, verify, sleep)
    health = HealthEndpoints(_readiness(parts))
    checker = PasswordChecker()
    app = Starlette(
        routes=[
            *oauth_routes(parts, token),
            *register_routes(parts),
            *approval_routes(parts, checker, openid),
            *health_routes(health),
        ],
        exception_handlers={
            HTTPException: not_here,
            UpstreamError: store_unavailable,
            Exception: server_error,
        },
        lifespan=lambda _: lifespan(parts, deliveries, checker, openid),
    )
    # A redirect would be built from the request's Host header, and no client follows one with POST.
    app.router.redirect_slashes = False
    # What is added later is asked earlier: a trusted proxy is listened to first.
    app.add_middleware(Direct, path=settings.path + TOKEN_PATH, endpoint=token.post)
    if settings.mutual_tls.proxies is not None:
        app.add_middleware(BehindProxy, proxies=settings.mutual_tls.proxies)
    app.state.stopping = parts.stopping
    app.state.keyring = parts.keyring
    app.state.health, app.state.limits = health, parts.limits
    app.state.receivers, app.state.assertions = receivers, parts.assertions
    return app


def _deliveries(parts: Parts, receivers: ServingReceivers, audit: DeliveryAudit) -> Deliveries:
    return Deliveries(
        receivers,
        parts.keyring,
        issuer=parts.settings.issuer,
        sealer=parts.settings.signing.sealer,
        clock=parts.clock,
        audit=audit,
    )


def _readiness(parts: Parts) -> Readiness:
    return Readiness(
        StoredReadiness(parts.opened.reading, parts.opened.writer),
        lambda: parts.keyring.can_sign(parts.clock()),
        parts.stopping,
        time.monotonic,
    )

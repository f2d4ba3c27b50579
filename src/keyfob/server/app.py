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
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from keyfob.errors import UpstreamError
from keyfob.http.proxy import BehindProxy
from keyfob.server.access_tokens import AccessTokenStore, SignedAccessTokens
from keyfob.server.admin.access import AdminAccess
from keyfob.server.admin.routes import admin_route
from keyfob.server.admission import Admission
from keyfob.server.approval.routes import approval_routes
from keyfob.server.asked_rights import AskedRights
from keyfob.server.audit import AuditSink, ignore
from keyfob.server.certificate_binding import CertificateBinding
from keyfob.server.client_authentication import client_authenticator
from keyfob.server.client_authentication.grant_assertion import GrantAssertion
from keyfob.server.credentials import SecretVerifier, verify_secret
from keyfob.server.device_codes import DeviceCodes
from keyfob.server.dpop.binding import DpopBinding
from keyfob.server.dpop.nonces import NONCE_KEY_BYTES, Nonces
from keyfob.server.endpoints.health import HealthEndpoints
from keyfob.server.endpoints.introspection import IntrospectionEndpoint
from keyfob.server.endpoints.jwks import KeySetEndpoint
from keyfob.server.endpoints.metadata import (
    INTROSPECTION_PATH,
    JWKS_PATH,
    REVOCATION_PATH,
    REVOCATIONS_PATH,
    TOKEN_PATH,
    MetadataEndpoint,
    assertion_rules,
    metadata_paths,
)
from keyfob.server.endpoints.registration import REGISTRATION_PATH, RegistrationEndpoint
from keyfob.server.endpoints.revocation import RevocationEndpoint
from keyfob.server.endpoints.revocations import RevocationsEndpoint
from keyfob.server.endpoints.token import TokenEndpoint
from keyfob.server.events.credentials import seal_all
from keyfob.server.events.deliveries import Deliveries
from keyfob.server.events.told import DeliveryAudit, ignore_deliveries
from keyfob.server.gateway_statement import GatewayStatements
from keyfob.server.grants import Grant
from keyfob.server.grants.client_credentials import ClientCredentials
from keyfob.server.grants.device_code import DeviceCodeGrant
from keyfob.server.grants.jwt_bearer import JwtBearer
from keyfob.server.grants.limited import limited
from keyfob.server.grants.password import Password
from keyfob.server.grants.refresh_token import RefreshTokenGrant
from keyfob.server.grants.token_exchange import TokenExchange
from keyfob.server.issue import TokenIssuer
from keyfob.server.key_binding import KeyBinding
from keyfob.server.last_tokens import LastTokens
from keyfob.server.limits import Limits, LimitStore, NoLimits
from keyfob.server.limits_in_memory import InMemoryLimits
from keyfob.server.minting import AccessTokens, Mint
from keyfob.server.oauth_errors import not_here, server_error, store_unavailable
from keyfob.server.opaque_tokens import OpaqueTokens
from keyfob.server.openid.provider import OpenIdIssuer
from keyfob.server.passwords import PasswordChecker
from keyfob.server.readiness import Readiness
from keyfob.server.refresh_tokens import RefreshTokens
from keyfob.server.register_thread import RegisterThread
from keyfob.server.settings import ServerSettings
from keyfob.server.signing.events import KeyAudit, ignore_keys
from keyfob.server.signing.keyring import Keyring
from keyfob.server.signing.keys import prepare
from keyfob.server.stores.device_codes import StoredDeviceCodes
from keyfob.server.stores.exchanged_tokens import StoredExchangedTokens
from keyfob.server.stores.opaque_tokens import StoredOpaqueTokens
from keyfob.server.stores.operators import StoredOperators
from keyfob.server.stores.place import PostgresqlUrl
from keyfob.server.stores.postgresql.limits import PostgresqlLimits
from keyfob.server.stores.readiness import StoredReadiness
from keyfob.server.stores.reads import Reads, make_reads
from keyfob.server.stores.refresh_families import StoredRefreshFamilies
from keyfob.server.stores.serving import ServingStore
from keyfob.server.stores.serving_keys import ServingKeys
from keyfob.server.stores.serving_receivers import ServingReceivers
from keyfob.server.stores.shared_keys import shared_key
from keyfob.server.stores.store import Store, open_store
from keyfob.server.stores.token_revocations import StoredTokenRevocations
from keyfob.server.stores.used_assertions import StoredUsedAssertions
from keyfob.server.stores.used_proofs import StoredUsedProofs
from keyfob.server.stores.writer import Writer
from keyfob.server.token_lookup import TokenLookup
from keyfob.server.trusted_issuers.assertions import TrustedAssertions, trusted_assertions

__all__ = ["create_app"]

_T = TypeVar("_T")


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
    store = open_store(settings.database, migrate=settings.migrate)
    reading = make_reads(settings.database, store)
    writer = Writer(settings.database)
    reads = ServingStore(reading, writer, clock=clock)
    thread = RegisterThread(Writer(settings.database, most=1), settings, clock)
    last_tokens = LastTokens(writer)  # which closes it
    keyring = _keyring(settings, store, ServingKeys(reading, writer), clock, key_audit)
    receivers = ServingReceivers(reading, writer)
    deliveries = _deliveries(settings, receivers, keyring, clock, delivery_audit)
    stopping = asyncio.Event()
    limits = limits or _limits(settings, reading)
    revocations = StoredTokenRevocations(reading, writer)
    families = StoredRefreshFamilies(reading, writer, grace=settings.refresh_grace)
    device_requests = StoredDeviceCodes(reading, writer)
    used = StoredUsedAssertions(writer)
    rules = assertion_rules(settings)
    assertions = _opened(store, lambda: trusted_assertions(settings.trusted_issuers, rules, used))
    opaque = OpaqueTokens(StoredOpaqueTokens(reading, writer), revocations)
    checker = PasswordChecker()
    parts = _Parts(
        settings=settings,
        reads=reads,
        keyring=keyring,
        tokens=AccessTokens(SignedAccessTokens(settings, keyring, revocations), opaque),
        used=used,
        assertions=assertions,
        exchanges=StoredExchangedTokens(writer),
        refresh_tokens=RefreshTokens(families, settings.refresh, clock),
        device_codes=DeviceCodes(device_requests, settings.device_code_lifetime, clock),
        admission=Admission(
            authenticator=client_authenticator(
                reads,
                verify,
                used,
                rules,
                clock,
                alone=GrantAssertion(reads, assertions, clock),
            ),
            limits=Limits(limits),
            audit=audit,
            clock=clock,
        ),
        audit=audit,
        clock=clock,
        dpop=DpopBinding(
            frozenset({settings.base + TOKEN_PATH, settings.mutual_tls.under(TOKEN_PATH)}),
            StoredUsedProofs(writer),
            _nonces(settings, store),
        ),
        opaque=opaque,
    )
    token = _token_endpoint(parts, verify, last_tokens, sleep)
    readiness = Readiness(
        StoredReadiness(reading, writer),
        lambda: keyring.can_sign(clock()),
        stopping,
        time.monotonic,
    )
    health = HealthEndpoints(readiness)
    app = Starlette(
        routes=[
            *_routes(parts, token, revocations, stopping),
            *_register_routes(parts, revocations, thread),
            *approval_routes(
                settings,
                admission=parts.admission,
                devices=reads,
                requests=device_requests,
                codes=parts.device_codes,
                operators=StoredOperators(reading, writer),
                checker=checker,
                openid=openid,
                audit=audit,
                clock=clock,
            ),
            Route("/healthz", health.healthz),
            Route("/readyz", health.readyz),
        ],
        exception_handlers={
            HTTPException: not_here,
            UpstreamError: store_unavailable,
            Exception: server_error,
        },
        lifespan=lambda _: _lifespan(
            store,
            reading,
            last_tokens,
            keyring,
            deliveries,
            thread=thread,
            checker=checker,
            openid=openid,
        ),
    )
    # A redirect would be built from the request's Host header, and no client follows one with POST.
    app.router.redirect_slashes = False
    if settings.mutual_tls.proxies is not None:
        app.add_middleware(BehindProxy, proxies=settings.mutual_tls.proxies)
    app.state.stopping = stopping
    app.state.keyring = keyring
    app.state.health, app.state.limits = health, limits
    app.state.receivers = receivers
    return app


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What endpoints have in common."""

    settings: ServerSettings
    reads: ServingStore
    keyring: Keyring
    tokens: TokenLookup
    used: StoredUsedAssertions
    assertions: TrustedAssertions
    exchanges: StoredExchangedTokens
    refresh_tokens: RefreshTokens
    device_codes: DeviceCodes
    admission: Admission
    audit: AuditSink
    clock: Callable[[], float]
    dpop: DpopBinding
    opaque: OpaqueTokens


def _token_endpoint(
    parts: _Parts,
    verify: SecretVerifier,
    last_tokens: LastTokens,
    sleep: Callable[[float], Awaitable[None]],
) -> TokenEndpoint:
    grants: list[Grant] = [
        ClientCredentials(parts.settings.admin_audience),
        Password(parts.reads, verify),
        RefreshTokenGrant(parts.reads, parts.refresh_tokens, parts.settings.audience),
        DeviceCodeGrant(parts.reads, parts.device_codes, parts.settings.audience),
        JwtBearer(parts.reads, parts.assertions, parts.clock),
        _token_exchange(parts),
    ]
    ceilings, default = parts.settings.grant_lifetimes, parts.settings.default_lifetime
    return TokenEndpoint(
        admission=parts.admission,
        grants={grant.grant_type: limited(grant, ceilings, default=default) for grant in grants},
        bindings=(
            CertificateBinding(always=parts.settings.mutual_tls.bound),
            parts.dpop,
            KeyBinding(),
        ),
        issuer=Mint(
            TokenIssuer(parts.settings, parts.keyring),
            parts.opaque,
            default=parts.settings.access_token_format,
        ),
        rights=AskedRights(parts.settings.targets),
        refresh_tokens=parts.refresh_tokens,
        issued=last_tokens.note,
        audit=parts.audit,
        clock=parts.clock,
        sleep=sleep,
        answered=parts.dpop.answered,
    )


def _token_exchange(parts: _Parts) -> TokenExchange:
    statements = GatewayStatements(parts.reads, parts.used, assertion_rules(parts.settings))
    return TokenExchange(parts.reads, parts.tokens, statements, parts.exchanges, parts.clock)


def _routes(
    parts: _Parts, token: TokenEndpoint, store: AccessTokenStore, stopping: asyncio.Event
) -> list[Route]:
    settings, admission, clock = parts.settings, parts.admission, parts.clock
    revocations = RevocationsEndpoint(
        admission=admission, store=parts.reads, clock=clock, stopping=stopping
    )
    introspection = IntrospectionEndpoint(admission=admission, tokens=parts.tokens, clock=clock)
    # Whoever it is for, the admin API or a resource of former settings: who has lost it ends it.
    signed = SignedAccessTokens(settings, parts.keyring, store, any_audience=True)
    revocation = RevocationEndpoint(
        admission=admission,
        tokens=AccessTokens(signed, parts.opaque),
        refresh_tokens=parts.refresh_tokens,
        audit=parts.audit,
        clock=clock,
    )
    metadata = MetadataEndpoint(settings, parts.reads)
    at = settings.path
    return [
        Route(at + TOKEN_PATH, token.post, methods=["POST"]),
        Route(at + REVOCATIONS_PATH, revocations.get),
        Route(at + JWKS_PATH, KeySetEndpoint(parts.keyring, clock).get),
        Route(at + INTROSPECTION_PATH, introspection.post, methods=["POST"]),
        Route(at + REVOCATION_PATH, revocation.post, methods=["POST"]),
        *(Route(path, metadata.get) for path in metadata_paths(settings)),
    ]


def _register_routes(
    parts: _Parts, store: AccessTokenStore, thread: RegisterThread
) -> list[BaseRoute]:
    """Return what changes the register: for clients that register themselves, and for services."""
    settings, at = parts.settings, parts.settings.path + REGISTRATION_PATH
    registration = RegistrationEndpoint(
        admission=parts.admission, registrar=thread, base=settings.base
    )
    one = at + "/{client_id}"
    routes: list[BaseRoute] = [
        Route(at, registration.post, methods=["POST"]),
        Route(one, registration.managed, methods=["GET", "PUT", "DELETE"]),
    ]
    if settings.admin_api:
        tokens = SignedAccessTokens(
            settings, parts.keyring, store, audiences=frozenset({settings.admin_audience})
        )
        access = AdminAccess(
            admission=parts.admission, tokens=tokens, services=parts.reads, clock=parts.clock
        )
        routes.append(admin_route(settings, access, thread, settings.base + TOKEN_PATH))
    return routes


def _keyring(
    settings: ServerSettings,
    store: Store,
    served: ServingKeys,
    clock: Callable[[], float],
    audit: KeyAudit,
) -> Keyring:
    keys = _opened(store, lambda: prepare(store, settings.signing, clock=clock, audit=audit))
    _opened(store, lambda: seal_all(store, settings.signing.sealer))
    stored = store.keys.all()
    return Keyring(served, settings.signing, stored, keys, clock=clock, audit=audit)


def _nonces(settings: ServerSettings, store: Store) -> Nonces | None:
    if settings.dpop_nonce == "off":
        return None
    key = _opened(store, lambda: shared_key(store, "dpop nonces", length=NONCE_KEY_BYTES))
    return Nonces(key)


def _opened(store: Store, make: Callable[[], _T]) -> _T:
    """Make something that the server cannot be without; if it fails, the register is closed."""
    try:
        return make()
    except BaseException:
        store.close()
        raise


def _deliveries(
    settings: ServerSettings,
    receivers: ServingReceivers,
    keyring: Keyring,
    clock: Callable[[], float],
    audit: DeliveryAudit,
) -> Deliveries:
    return Deliveries(
        receivers,
        keyring,
        issuer=settings.issuer,
        sealer=settings.signing.sealer,
        clock=clock,
        audit=audit,
    )


def _limits(settings: ServerSettings, reading: Reads) -> LimitStore:
    if settings.limits is None:
        return NoLimits()
    if isinstance(settings.database, PostgresqlUrl):  # which several processes share
        return PostgresqlLimits(settings.limits, reading)
    return InMemoryLimits(settings.limits, time.monotonic)


@contextlib.asynccontextmanager
async def _lifespan(
    store: Store,
    reading: Reads,
    last_tokens: LastTokens,
    keyring: Keyring,
    deliveries: Deliveries,
    *,
    thread: RegisterThread,
    checker: PasswordChecker,
    openid: OpenIdIssuer | None,
) -> AsyncIterator[None]:
    flushing = asyncio.create_task(last_tokens.run())
    following = asyncio.create_task(keyring.run())
    delivering = asyncio.create_task(deliveries.run())
    try:
        yield
    finally:
        flushing.cancel()
        following.cancel()
        delivering.cancel()
        async with contextlib.AsyncExitStack() as closing:  # each of them, whatever fails
            closing.callback(store.close)
            closing.callback(reading.close)
            closing.callback(checker.close)
            if openid is not None:
                closing.push_async_callback(openid.aclose)
            closing.push_async_callback(last_tokens.close)
            closing.push_async_callback(thread.close)
            with contextlib.suppress(asyncio.CancelledError):
                await flushing
            with contextlib.suppress(asyncio.CancelledError):
                await following
            with contextlib.suppress(asyncio.CancelledError):
                await delivering

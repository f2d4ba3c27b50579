# SPDX-License-Identifier: Apache-2.0
"""Which path leads to which endpoint."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from keyfob.server.access_tokens import SignedAccessTokens
from keyfob.server.admin.access import AdminAccess
from keyfob.server.admin.routes import admin_route
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
    metadata_paths,
)
from keyfob.server.endpoints.registration import REGISTRATION_PATH, RegistrationEndpoint
from keyfob.server.endpoints.revocation import RevocationEndpoint
from keyfob.server.endpoints.revocations import RevocationsEndpoint
from keyfob.server.endpoints.token import TokenEndpoint
from keyfob.server.minting import AccessTokens
from keyfob.server.parts import Parts

__all__ = ["health_routes", "oauth_routes", "register_routes"]


def oauth_routes(parts: Parts, token: TokenEndpoint) -> list[Route]:
    """Return what clients and resource servers ask."""
    settings, admission, clock = parts.settings, parts.admission, parts.clock
    revocations = RevocationsEndpoint(
        admission=admission, store=parts.reads, clock=clock, stopping=parts.stopping
    )
    introspection = IntrospectionEndpoint(admission=admission, tokens=parts.tokens, clock=clock)
    metadata = MetadataEndpoint(settings, parts.reads, parts.assertions)
    at = settings.path
    return [
        Route(at + TOKEN_PATH, token.post, methods=["POST"]),
        Route(at + REVOCATIONS_PATH, revocations.get),
        Route(at + JWKS_PATH, KeySetEndpoint(parts.keyring, clock).get),
        Route(at + INTROSPECTION_PATH, introspection.post, methods=["POST"]),
        Route(at + REVOCATION_PATH, _revocation(parts).post, methods=["POST"]),
        *(Route(path, metadata.get) for path in metadata_paths(settings)),
    ]


def _revocation(parts: Parts) -> RevocationEndpoint:
    # Whoever it is for, the admin API or a resource of former settings: who has lost it ends it.
    signed = SignedAccessTokens(parts.settings, parts.keyring, parts.revocations, any_audience=True)
    return RevocationEndpoint(
        admission=parts.admission,
        tokens=AccessTokens(signed, parts.opaque),
        refresh_tokens=parts.refresh_tokens,
        audit=parts.audit,
        clock=parts.clock,
    )


def register_routes(parts: Parts) -> list[BaseRoute]:
    """Return what changes the register: for clients that register themselves, and for services."""
    settings, at = parts.settings, parts.settings.path + REGISTRATION_PATH
    thread = parts.opened.thread
    registration = RegistrationEndpoint(
        admission=parts.admission, registrar=thread, base=settings.base
    )
    routes: list[BaseRoute] = [
        Route(at, registration.post, methods=["POST"]),
        Route(at + "/{client_id}", registration.managed, methods=["GET", "PUT", "DELETE"]),
    ]
    if settings.admin_api:
        access = AdminAccess(
            admission=parts.admission,
            tokens=SignedAccessTokens(
                settings,
                parts.keyring,
                parts.revocations,
                audiences=frozenset({settings.admin_audience}),
            ),
            services=parts.reads,
            clock=parts.clock,
        )
        routes.append(admin_route(settings, access, thread, settings.base + TOKEN_PATH))
    return routes


def health_routes(health: HealthEndpoints) -> list[Route]:
    """Return what whoever runs the server asks."""
    return [Route("/healthz", health.healthz), Route("/readyz", health.readyz)]

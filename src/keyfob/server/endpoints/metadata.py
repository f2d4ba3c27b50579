# SPDX-License-Identifier: Apache-2.0
"""The authorization server's metadata (RFC 8414), by which clients find everything else."""

from __future__ import annotations

from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from keyfob.authorization.syntaxes.scopes import CONNECT
from keyfob.http.json_response import json_response
from keyfob.server.asked_rights import TOKEN_EXCHANGE
from keyfob.server.authorization_details import DETAILS_TYPES
from keyfob.server.client_authentication import METHODS, SERVICE_METHODS
from keyfob.server.client_authentication.assertion import AssertionRules
from keyfob.server.client_authentication.grant_assertion import JWT_BEARER
from keyfob.server.clients import DEVICE_CODE, REFRESH_TOKEN, ClientKind
from keyfob.server.endpoints.registration import REGISTRATION_PATH
from keyfob.server.settings import ServerSettings
from keyfob.server.trusted_issuers.assertions import TrustedAssertions
from keyfob.tokens.keys import ALGORITHMS

__all__ = [
    "DEVICE_AUTHORIZATION_PATH",
    "DEVICE_PATH",
    "INTROSPECTION_PATH",
    "JWKS_PATH",
    "REVOCATIONS_PATH",
    "REVOCATION_PATH",
    "TOKEN_PATH",
    "MetadataEndpoint",
    "assertion_rules",
    "metadata_paths",
]

TOKEN_PATH: Final = "/oauth2/token"  # noqa: S105 - a path
JWKS_PATH: Final = "/oauth2/jwks"
REVOCATIONS_PATH: Final = "/oauth2/revocations"
INTROSPECTION_PATH: Final = "/oauth2/introspect"
REVOCATION_PATH: Final = "/oauth2/revoke"
DEVICE_AUTHORIZATION_PATH: Final = "/oauth2/device_authorization"
DEVICE_PATH: Final = "/device"  # people may have to type it
_OAUTH: Final = "/.well-known/oauth-authorization-server"
_OPENID: Final = "/.well-known/openid-configuration"
# What a client that authenticates by a certificate, or has its tokens bound to one, asks.
_WITH_CERTIFICATE: Final = (
    "token_endpoint",
    "revocation_endpoint",
    "device_authorization_endpoint",
)
_CACHE: Final = {"Cache-Control": "public, max-age=300"}


class ApplicationStore(Protocol):
    """What the metadata needs of the register."""

    async def has_clients(self, kind: ClientKind) -> bool:
        """Say whether there is a client of a kind."""


def metadata_paths(settings: ServerSettings) -> tuple[str, ...]:
    """Return the paths of the metadata document, for an issuer with or without a path.

    RFC 8414 section 3.1 inserts the well-known part before the issuer's path; OpenID Connect
    Discovery 1.0 section 4 appends it, and section 5 of the RFC tells of clients that do so.
    """
    at = settings.path
    return tuple(dict.fromkeys((_OAUTH + at, _OPENID + at, at + _OPENID)))


def assertion_rules(settings: ServerSettings) -> AssertionRules:
    """Return what the server wants of a client's assertion: that it is for this server."""
    endpoints: frozenset[str] = frozenset()
    if settings.token_endpoint_audience:
        alias = settings.mutual_tls.under(TOKEN_PATH)  # RFC 8705 section 5
        endpoints = frozenset(filter(None, (settings.base + TOKEN_PATH, alias)))
    return AssertionRules(
        issuer=settings.issuer, token_endpoints=endpoints, lifetime=settings.assertion_lifetime
    )


class MetadataEndpoint:
    """Describes the server.

    Args:
        settings: The issuer.
        clients: The register: the grants of applications are named once there is one.
        assertions: Those of trusted issuers: their grant is named where there is one.
    """

    def __init__(
        self, settings: ServerSettings, clients: ApplicationStore, assertions: TrustedAssertions
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._assertions = assertions

    async def get(self, request: Request) -> Response:  # noqa: ARG002 - the same for everybody
        """Answer with the metadata (RFC 8414 section 2)."""
        applications = await self._clients.has_clients(ClientKind.APPLICATION)
        base, mutual_tls = self._settings.base, self._settings.mutual_tls
        methods = [*METHODS, *mutual_tls.methods, *["none"] * applications]
        document: dict[str, object] = {
            "issuer": self._settings.issuer,
            "token_endpoint": base + TOKEN_PATH,
            "jwks_uri": base + JWKS_PATH,
            "scopes_supported": [CONNECT],
            "response_types_supported": [],  # required, and empty: there is no such endpoint
            "grant_types_supported": [
                "client_credentials",
                *["password", REFRESH_TOKEN, DEVICE_CODE] * applications,
                *[JWT_BEARER] * bool(self._assertions),
                TOKEN_EXCHANGE,
            ],
            "authorization_details_types_supported": [*DETAILS_TYPES],  # RFC 9396 section 10
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": [*ALGORITHMS],
            "introspection_endpoint": base + INTROSPECTION_PATH,
            "introspection_endpoint_auth_methods_supported": [*SERVICE_METHODS],
            "registration_endpoint": base + REGISTRATION_PATH,
            "revocation_endpoint": base + REVOCATION_PATH,
            "revocation_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_signing_alg_values_supported": [*ALGORITHMS],
            "dpop_signing_alg_values_supported": [*ALGORITHMS],
        }
        if applications:  # RFC 8628 section 4
            document["device_authorization_endpoint"] = base + DEVICE_AUTHORIZATION_PATH
        if mutual_tls.possible:  # RFC 8705 section 3.3
            document["tls_client_certificate_bound_access_tokens"] = True
        with_certificate = [name for name in _WITH_CERTIFICATE if name in document]
        if aliases := mutual_tls.aliases(with_certificate, document):  # section 5
            document["mtls_endpoint_aliases"] = aliases
        return json_response(document, headers=_CACHE)

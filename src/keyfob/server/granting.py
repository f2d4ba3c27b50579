# SPDX-License-Identifier: Apache-2.0
"""What the token endpoint is made of: the grants on offer, and what their tokens are bound to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from keyfob.server.asked_rights import AskedRights
from keyfob.server.certificate_binding import CertificateBinding
from keyfob.server.credentials import SecretVerifier
from keyfob.server.endpoints.metadata import assertion_rules
from keyfob.server.endpoints.token import TokenEndpoint
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
from keyfob.server.minting import Mint
from keyfob.server.parts import Parts
from keyfob.server.stores.exchanged_tokens import StoredExchangedTokens

__all__ = ["token_endpoint"]


def token_endpoint(
    parts: Parts, verify: SecretVerifier, sleep: Callable[[float], Awaitable[None]]
) -> TokenEndpoint:
    """Make the token endpoint.

    Args:
        parts: What it has in common with others.
        verify: Compares a device's secret with the stored hash.
        sleep: Waits for some seconds.
    """
    settings = parts.settings
    ceilings, default = settings.grant_lifetimes, settings.default_lifetime
    return TokenEndpoint(
        admission=parts.admission,
        grants={
            grant.grant_type: limited(grant, ceilings, default=default)
            for grant in _grants(parts, verify)
        },
        bindings=(
            CertificateBinding(always=settings.mutual_tls.bound),
            parts.dpop,
            KeyBinding(),
        ),
        issuer=Mint(
            TokenIssuer(settings, parts.keyring),
            parts.opaque,
            default=settings.access_token_format,
        ),
        rights=AskedRights(settings.targets),
        refresh_tokens=parts.refresh_tokens,
        issued=parts.opened.last_tokens.note,
        audit=parts.audit,
        clock=parts.clock,
        sleep=sleep,
        answered=parts.dpop.answered,
    )


def _grants(parts: Parts, verify: SecretVerifier) -> list[Grant]:
    settings, reads = parts.settings, parts.reads
    return [
        ClientCredentials(settings.admin_audience),
        Password(reads, verify),
        RefreshTokenGrant(reads, parts.refresh_tokens, settings.audience),
        DeviceCodeGrant(reads, parts.device_codes, settings.audience),
        JwtBearer(reads, parts.assertions, parts.clock),
        TokenExchange(
            reads,
            parts.tokens,
            GatewayStatements(reads, parts.used, assertion_rules(settings)),
            StoredExchangedTokens(parts.opened.writer),
            parts.clock,
        ),
    ]

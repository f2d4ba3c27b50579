# SPDX-License-Identifier: Apache-2.0
"""What a gateway signs to name a sub-device: a JWT with the gateway's registered key.

A sub-device that speaks Zigbee or LoRa has no token of its own, and RFC 8693 wants one about it.
So the gateway writes it:

    iss  the gateway      sub  the sub-device      aud  this server, as in a client assertion
    exp  soon             jti  good for once       typ  where present: ``JWT``

It says no more than that the gateway asks; whether it may is the register's.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Final, Protocol

from keyfob.errors import TokenError
from keyfob.server.client_authentication.assertion import (
    CLOCK_SKEW,
    AssertionRules,
    PresentedAssertion,
    check_assertion,
)
from keyfob.server.client_authentication.private_key_jwt import UsedAssertionStore, signature_fault
from keyfob.server.clients import Client
from keyfob.server.names import is_name
from keyfob.server.oauth_errors import OAuthError
from keyfob.tokens.claims import Claims
from keyfob.tokens.jws import json_object, parse_compact

__all__ = ["GatewayStatement", "GatewayStatements"]

# Used statements are kept with used client assertions, and are not the same.
_PURPOSE: Final = b"gateway statement\0"
_NOT_THIS: Final = "client-authentication+jwt"


class _GatewayStore(Protocol):
    async def find_client(self, client_id: str) -> Client | None:
        """Return a client by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayStatement:
    """One that is good: who says it, about which sub-device."""

    gateway: str
    device: str
    token_id: str
    expires_at: float
    read_at: float


class GatewayStatements:
    """Reads them, and uses them up.

    Args:
        clients: The register.
        used: Which were used.
        rules: What this server wants of an assertion.
    """

    def __init__(
        self, clients: _GatewayStore, used: UsedAssertionStore, rules: AssertionRules
    ) -> None:
        self._clients = clients
        self._used = used
        self._rules = rules

    async def read(self, text: str, gateway: str, now: float) -> GatewayStatement:
        """Return what a gateway says.

        Args:
            text: The JWT.
            gateway: Who must have signed it.
            now: Unix seconds.

        Raises:
            OAuthError: ``invalid_request``: it is not good.
        """
        try:
            jws = parse_compact(text)
            claims = Claims.parse(json_object(jws.payload, "payload"))
        except TokenError:
            raise _refused("statement_malformed", gateway) from None
        if claims.issuer != gateway or not is_name(claims.subject) or not claims.token_id:
            raise _refused("statement_claims", gateway)
        if jws.header.typ == _NOT_THIS:
            raise _refused("statement_typ", gateway)
        shown = PresentedAssertion(client_id=gateway, jws=jws, claims=claims)
        try:
            check_assertion(shown, self._rules, now)
        except OAuthError as error:
            raise _refused(error.reason.replace("assertion", "statement"), gateway) from None
        signer = await self._clients.find_client(gateway)
        fault = signature_fault(jws, None if signer is None else signer.jwks)
        if fault is not None:
            raise _refused(fault.replace("assertion", "statement"), gateway)
        return GatewayStatement(
            gateway=gateway,
            device=claims.subject,
            token_id=claims.token_id,
            expires_at=claims.expires_at,
            read_at=now,
        )

    async def use(self, statement: GatewayStatement) -> None:
        """Use one up; it is on the disk when this returns.

        Raises:
            OAuthError: ``invalid_request``: it was used before.
            UpstreamError: It could not be written down.
        """
        first = await self._used.insert_if_absent(
            statement.gateway,
            hashlib.sha256(_PURPOSE + statement.token_id.encode()).digest(),
            until=math.ceil(statement.expires_at) + CLOCK_SKEW,
            now=statement.read_at,
        )
        if not first:
            raise _refused("statement_replayed", statement.gateway)


def _refused(reason: str, gateway: str) -> OAuthError:
    return OAuthError(
        "invalid_request", "what was shown is not acceptable", reason=reason, subject=gateway
    )

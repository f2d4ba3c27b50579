# SPDX-License-Identifier: Apache-2.0
"""The JWT bearer grant: another issuer vouches for a device (RFC 7521 section 4.1, RFC 7523).

Cloud workloads, a factory's PKI and other OpenID issuers give their devices JWTs already; one that
is trusted here gets the device a token of ours. The client is an application that is registered for
the grant, the device itself, or nobody but the assertion, where the issuer's settings say so: then
the device is the client, too. A device gets tokens by this grant for itself only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from keyfob.server.client_authentication.grant_assertion import JWT_BEARER
from keyfob.server.clients import Client, ClientKind
from keyfob.server.issue import Access, IssuedToken
from keyfob.server.oauth_errors import OAuthError, invalid_request
from keyfob.server.trusted_issuers.assertions import GoodAssertion, TrustedAssertions

__all__ = ["DeviceStore", "JwtBearer"]


class DeviceStore(Protocol):
    """What the grant needs of the register."""

    async def find_client(self, client_id: str) -> Client | None:
        """Return a client by name."""


class JwtBearer:
    """The grant.

    Args:
        devices: The register.
        assertions: Those of trusted issuers.
        clock: Unix seconds.
    """

    grant_type: Final = JWT_BEARER

    def __init__(
        self,
        devices: DeviceStore,
        assertions: TrustedAssertions,
        clock: Callable[[], float],
    ) -> None:
        self._devices = devices
        self._assertions = assertions
        self._clock = clock

    async def authorize(self, client: Client, parameters: Mapping[str, str]) -> Access:
        """Allow what the device of the assertion is registered for.

        Unknown, disabled and another device's are one answer.

        Raises:
            OAuthError: ``invalid_request`` without an assertion, else ``invalid_grant``.
        """
        text = parameters.get("assertion")
        if text is None:
            raise invalid_request("assertion is required", reason="parameter_missing")
        good = await self._assertions.read(text, self._clock())
        if client.public and not good.issuer.without_client:  # whose name anybody may write
            raise _refused("client_public", good.device)
        device = await self._devices.find_client(good.device)
        if device is None or device.kind is not ClientKind.DEVICE:
            raise _refused("device_unknown")
        if not device.enabled:
            raise _refused("device_disabled", good.device)
        if client.kind is ClientKind.DEVICE and client.client_id != device.client_id:
            raise _refused("device_of_another", good.device)
        return Access(
            subject=device.client_id,
            client_id=client.client_id,
            scopes=device.scopes,
            lifetime=device.lifetime,
            revoked_through=device.revoked_through,
            keep=lambda _: self._use(good, _),
        )

    async def _use(self, good: GoodAssertion, token: IssuedToken) -> None:  # noqa: ARG002
        await self._assertions.use(good, self._clock())


def _refused(reason: str, subject: str = "") -> OAuthError:
    return OAuthError("invalid_grant", "the assertion is not valid", reason=reason, subject=subject)

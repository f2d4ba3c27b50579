# SPDX-License-Identifier: Apache-2.0
"""The refresh token grant (RFC 6749 section 6), with rotation (RFC 9700 section 4.14.2).

The token stands for a device that logged in through an application earlier. It is only looked at
here; it is replaced once every other check of the request has passed, so that a request for too
much scope costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from keyfob.server.authorization_details import still_covered
from keyfob.server.clients import REFRESH_TOKEN, Client
from keyfob.server.issue import Access
from keyfob.server.oauth_errors import OAuthError, invalid_request
from keyfob.server.refresh_tokens import RefreshTokens
from keyfob.server.scopes import still_registered

__all__ = ["RefreshTokenGrant", "SubjectStore"]


class SubjectStore(Protocol):
    """What the grant needs of the register."""

    async def find_client(self, client_id: str) -> Client | None:
        """Return a client by name."""


class RefreshTokenGrant:
    """Another token for the device of a family, through the same application.

    Args:
        devices: The register.
        tokens: The refresh tokens.
        audience: The server's own, which a family has that was granted no other.
    """

    grant_type: Final = REFRESH_TOKEN

    def __init__(self, devices: SubjectStore, tokens: RefreshTokens, audience: str) -> None:
        self._devices = devices
        self._tokens = tokens
        self._audience = audience

    async def authorize(self, client: Client, parameters: Mapping[str, str]) -> Access:
        """Allow what was granted at the login, as far as the device is still registered for it.

        Raises:
            OAuthError: ``invalid_request`` without a token, ``invalid_grant`` for one that is not
                good or whose device may have nothing now.
        """
        text = parameters.get("refresh_token")
        if text is None:
            raise invalid_request("refresh_token is required", reason="parameter_missing")
        token, family = await self._tokens.open(text, client.client_id)
        device = await self._devices.find_client(family.subject)
        if device is None or not device.enabled:
            raise _refused("device_disabled", family.subject)
        scopes = still_registered(device.scopes, family.scopes)
        details = still_covered(device.scopes, family.details)
        if not scopes and not details:
            raise _refused("scopes_withdrawn", family.subject)
        return Access(
            subject=device.client_id,
            client_id=client.client_id,
            scopes=scopes,
            lifetime=device.lifetime,
            revoked_through=device.revoked_through,
            refresh_token=token,
            certificate=family.certificate,
            jkt=family.jkt,
            audience=family.audience or self._audience,  # RFC 8707 section 2.2
            details=details,
        )


def _refused(reason: str, subject: str) -> OAuthError:
    return OAuthError(
        "invalid_grant", "the refresh token is not valid", reason=reason, subject=subject
    )

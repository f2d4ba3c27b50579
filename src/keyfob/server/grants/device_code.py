# SPDX-License-Identifier: Apache-2.0
"""The device code grant (RFC 8628 section 3.4): a device that a person has approved.

The code is only looked at here; it is used up once every other check of the request has passed,
in one transaction with the refresh token that goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from keyfob.server.clients import DEVICE_CODE, REFRESH_TOKEN, Client, ClientKind
from keyfob.server.device_codes import DeviceCodes
from keyfob.server.issue import Access
from keyfob.server.oauth_errors import OAuthError, invalid_request
from keyfob.server.scopes import still_registered

__all__ = ["ApprovedStore", "DeviceCodeGrant"]


class ApprovedStore(Protocol):
    """What the grant needs of the register."""

    async def find_client(self, client_id: str) -> Client | None:
        """Return a client by name."""


class DeviceCodeGrant:
    """The token is the approved device's (``sub``), got through the application (``client_id``).

    Args:
        devices: The register.
        codes: The device codes.
        audience: Whom its tokens are for: the server's own, because no approver was told another.
    """

    grant_type: Final = DEVICE_CODE

    def __init__(self, devices: ApprovedStore, codes: DeviceCodes, audience: str) -> None:
        self._devices = devices
        self._codes = codes
        self._audience = audience

    async def authorize(self, client: Client, parameters: Mapping[str, str]) -> Access:
        """Allow what was approved, as far as the device is still registered for it.

        Raises:
            OAuthError: ``invalid_request`` without a code; what ``DeviceCodes.poll`` raises;
                ``invalid_grant`` for a device that may have nothing now.
        """
        text = parameters.get("device_code")
        if text is None:
            raise invalid_request("device_code is required", reason="parameter_missing")
        request = await self._codes.poll(text, client.client_id)
        device = await self._devices.find_client(request.subject)
        if device is None or device.kind is not ClientKind.DEVICE or not device.enabled:
            pending = device is not None and device.pending
            raise _refused("device_pending" if pending else "device_disabled", request.subject)
        # What was approved before the device was disabled stays over when it is enabled again.
        if int(request.decided_at) <= device.revoked_through:
            raise _refused("approved_before_revocation", request.subject)
        scopes = still_registered(device.scopes, request.scopes)
        if not scopes:
            raise _refused("scopes_withdrawn", request.subject)
        return Access(
            subject=device.client_id,
            client_id=client.client_id,
            scopes=scopes,
            lifetime=device.lifetime,
            revoked_through=device.revoked_through,
            renewable=REFRESH_TOKEN in client.grants,
            device_code=request.code_hash,
            audience=self._audience,
        )


def _refused(reason: str, subject: str) -> OAuthError:
    return OAuthError(
        "invalid_grant", "the device code is not valid", reason=reason, subject=subject
    )

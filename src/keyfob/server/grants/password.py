# SPDX-License-Identifier: Apache-2.0
"""The password grant, for devices behind an application (RFC 6749 section 4.3).

``username`` and ``password`` are a device's own name and secret; the client is the application.
RFC 9700 section 2.4 rules this grant out because it teaches people to type their passwords into
programs. Here nobody types: both are a machine's. It exists for gateways and firmware that can do
nothing else, and for no client that was not registered for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from keyfob.server.clients import REFRESH_TOKEN, Client, ClientKind, StoredSecret
from keyfob.server.credentials import SecretVerifier
from keyfob.server.issue import Access
from keyfob.server.oauth_errors import OAuthError, invalid_request
from keyfob.server.rotation import note_use, proven_hash

__all__ = ["DeviceStore", "Password"]


class DeviceStore(Protocol):
    """What the password grant needs of the register."""

    async def find_secret(self, client_id: str) -> StoredSecret | None:
        """Return what a client has to prove."""

    async def find_client(self, client_id: str) -> Client | None:
        """Return a client by name."""

    async def end_old_secret(self, client_id: str, secret_hash: str) -> None:
        """Let the old secret of a client stop, if the new one is still this one."""


class Password:
    """The token is the device's (``sub``), got through the application (``client_id``).

    Args:
        devices: The register.
        verify: Compares a secret with a stored hash.
    """

    grant_type: Final = "password"

    def __init__(self, devices: DeviceStore, verify: SecretVerifier) -> None:
        self._devices = devices
        self._verify = verify

    async def authorize(self, client: Client, parameters: Mapping[str, str]) -> Access:
        """Allow what the device is registered for, if its name and secret are right.

        Unknown, disabled and wrong get one answer for the same work.

        Raises:
            OAuthError: ``invalid_request`` without the two parameters, else ``invalid_grant``.
        """
        username, password = parameters.get("username"), parameters.get("password")
        if username is None or password is None:
            raise invalid_request("username and password are required", reason="parameter_missing")
        stored = await self._devices.find_secret(username)
        if stored is not None and stored.kind is not ClientKind.DEVICE:
            stored = None
        proven = proven_hash(self._verify, password, stored)
        if stored is None:
            raise _invalid_grant("device_unknown")
        if proven is None:
            raise _invalid_grant("device_secret_wrong")
        device = await self._devices.find_client(username)
        if device is None or proven not in (device.secret_hash, device.old_hash):  # just changed
            raise _invalid_grant("device_unknown")
        if not device.enabled:
            raise _invalid_grant("device_pending" if device.pending else "device_disabled")
        await note_use(self._devices, device.client_id, stored, proven)
        return Access(
            subject=device.client_id,
            client_id=client.client_id,
            scopes=device.scopes,
            lifetime=device.lifetime,
            revoked_through=device.revoked_through,
            renewable=REFRESH_TOKEN in client.grants,
            secret_hash=proven,
        )


def _invalid_grant(reason: str) -> OAuthError:
    return OAuthError("invalid_grant", "username or password is not valid", reason=reason)

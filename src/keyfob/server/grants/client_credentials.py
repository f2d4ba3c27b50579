# SPDX-License-Identifier: Apache-2.0
"""The client credentials grant: a device asks for itself (RFC 6749 section 4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keyfob.server.admin.access import admin_access
from keyfob.server.clients import Client, ClientKind
from keyfob.server.issue import Access

__all__ = ["ClientCredentials"]


class ClientCredentials:
    """The device is the client: ``sub`` and ``client_id`` are the same (RFC 9068 section 2.2).

    A service with admin scopes asks in the same way; its token is for the admin API alone.

    Args:
        admin_audience: Whom such a token is for.
    """

    grant_type: Final = "client_credentials"

    def __init__(self, admin_audience: str) -> None:
        self._admin_audience = admin_audience

    async def authorize(
        self,
        client: Client,
        parameters: Mapping[str, str],  # noqa: ARG002 - this grant has no parameter of its own
    ) -> Access:
        """Allow what the device is registered for; its authentication was the proof."""
        if client.kind is ClientKind.SERVICE:
            return admin_access(client, self._admin_audience)
        return Access(
            subject=client.client_id,
            client_id=client.client_id,
            scopes=client.scopes,
            lifetime=client.lifetime,
            revoked_through=client.revoked_through,
        )

# SPDX-License-Identifier: Apache-2.0
"""The grants of clients of a server somewhere else, through its admin API."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from keyfob.cli.admin_client import AdminClient, one
from keyfob.server.admin.grants import AllowedGrant, WithdrawnGrant
from keyfob.server.client_grants import ClientGrants

__all__ = ["RemoteGrants"]


class RemoteGrants:
    """An ``AnyGrants``.

    Args:
        client: What asks.
    """

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    def show_grants(self, client_id: str) -> ClientGrants:
        """Show a client's grants."""
        return self._client.ask("GET", *one("grants", client_id), kind=ClientGrants)

    def allow_grant(
        self, client_id: str, grant: str, *, act_for: Iterable[str] | None = None
    ) -> ClientGrants:
        """Let a client use one more grant."""
        patterns = msgspec.UNSET if act_for is None else tuple(act_for)
        wish = AllowedGrant(grant=grant, may_act_for=patterns)
        path = *one("grants", client_id), "allow"
        return self._client.ask("POST", *path, kind=ClientGrants, body=wish)

    def withdraw_grant(self, client_id: str, grant: str) -> ClientGrants:
        """Take a grant from a client."""
        path = *one("grants", client_id), "withdraw"
        return self._client.ask("POST", *path, kind=ClientGrants, body=WithdrawnGrant(grant=grant))

# SPDX-License-Identifier: Apache-2.0
"""The signing keys of a server somewhere else, through its admin API."""

from __future__ import annotations

from keyfob.cli.admin_client import NOTHING, AdminClient
from keyfob.server.admin.keys import KeyList, Rotation
from keyfob.server.signing.key_register import ShownKey

__all__ = ["RemoteKeyRegister"]


class RemoteKeyRegister:
    """An ``AnyKeyRegister``.

    Args:
        client: What asks.
    """

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    def list_keys(self) -> tuple[ShownKey, ...]:
        """List the keys."""
        return self._client.ask("GET", "keys", kind=KeyList).items

    def rotate(self, *, at_once: bool = False) -> ShownKey:
        """Make a new key."""
        wish = Rotation(now=at_once)
        return self._client.ask("POST", "keys", "rotate", kind=ShownKey, body=wish)

    def remove(self, kid: str) -> None:
        """Publish a key no longer."""
        self._client.ask("DELETE", "keys", kid, kind=NOTHING)

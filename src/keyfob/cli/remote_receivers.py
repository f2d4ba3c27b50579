# SPDX-License-Identifier: Apache-2.0
"""The receivers of a server somewhere else, through its admin API."""

from __future__ import annotations

from keyfob.cli.admin_client import NOTHING, AdminClient, one
from keyfob.errors import ConfigError
from keyfob.server.admin.receivers import NewReceiver, ReceiverList, ReceiverState
from keyfob.server.events.receiver import ReceiverStatus, ShownReceiver

__all__ = ["RemoteReceivers"]


class RemoteReceivers:
    """An ``AnyReceivers``.

    Args:
        client: What asks.
    """

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    def add(
        self, name: str, *, url: str, audience: str = "", secret: str = "", ca: str | None = None
    ) -> ShownReceiver:
        """Add a receiver."""
        if not url.startswith("https://"):
            raise ConfigError(
                "the URL is none that begins with https://; over --server there is no other, and a"
                " receiver on the server's own machine is added there"
            )
        wish = NewReceiver(name=name, url=url, audience=audience, secret=secret, ca=ca)
        return self._client.ask("POST", "receivers", kind=ShownReceiver, body=wish)

    def list_receivers(self) -> tuple[ShownReceiver, ...]:
        """List the receivers."""
        return self._client.ask("GET", "receivers", kind=ReceiverList).items

    def status(self, name: str) -> tuple[ShownReceiver, ReceiverStatus]:
        """Show how the deliveries to a receiver go."""
        found = self._client.ask("GET", *one("receivers", name), kind=ReceiverState)
        return found.receiver, found.status

    def remove(self, name: str) -> None:
        """Remove a receiver."""
        self._client.ask("DELETE", *one("receivers", name), kind=NOTHING)

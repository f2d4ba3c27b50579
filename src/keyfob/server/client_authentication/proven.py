# SPDX-License-Identifier: Apache-2.0
"""What every way to authenticate has in common: what it asks the register, and what it ends in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from keyfob.server.clients import Client, StoredSecret

__all__ = ["ClientStore", "Method", "Proven"]


class ClientStore(Protocol):
    """What client authentication needs of the register."""

    async def find_secret(self, client_id: str) -> StoredSecret | None:
        """Return what a client has to prove."""

    async def find_client(self, client_id: str) -> Client | None:
        """Return a client by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """A client has proven to be itself.

    Args:
        client_id: Which one.
        stored: What it was compared with, which must still be registered when it gets something.
    """

    client_id: str
    stored: StoredSecret

    def still_holds_for(self, client: Client) -> bool:
        """Say whether the client is still registered with what was proven."""
        stored = self.stored
        return (
            client.secret_hash == stored.secret_hash
            and client.jwks == stored.jwks
            and client.metadata.certificate == stored.certificate
        )


class Method(Protocol):
    """One way to authenticate; takes the type of value that ``presented`` makes for it."""

    async def prove(self, shown: Any) -> Proven:  # noqa: ANN401 - each has a type of its own
        """Return who it is.

        Unknown and wrong cost the same work. May use up what is shown: it is called once for a
        request.

        Raises:
            OAuthError: ``invalid_client``, with the reason for the audit.
        """

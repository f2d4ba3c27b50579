# SPDX-License-Identifier: Apache-2.0
"""What every way to authenticate has in common: what it asks the register, and what it ends in."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from keyfob.server.clients import Client, StoredSecret
from keyfob.server.records import Record

__all__ = ["ClientStore", "Method", "Proven"]


class ClientStore(Protocol):
    """What client authentication needs of the register."""

    async def find_secret(self, client_id: str) -> StoredSecret | None:
        """Return what a client has to prove."""

    async def find_client(self, client_id: str) -> Client | None:
        """Return a client by name."""

    async def end_old_secret(self, client_id: str, secret_hash: str) -> None:
        """Let the old secret of a client stop, if the new one is still this one."""


class Proven(Record, frozen=True, kw_only=True):
    """A client has proven to be itself.

    Args:
        client_id: Which one.
        stored: What it was compared with, which must still be registered when it gets something.
        secret_hash: The one that was proven, of the new secret or the old; None where none was.
    """

    hidden: ClassVar[frozenset[str]] = frozenset({"secret_hash"})

    client_id: str
    stored: StoredSecret
    secret_hash: str | None = None

    def still_holds_for(self, client: Client) -> bool:
        """Say whether the client is still registered with what was proven."""
        stored = self.stored
        if client.jwks != stored.jwks or client.metadata.certificate != stored.certificate:
            return False
        if self.secret_hash is not None:
            return self.secret_hash in (client.secret_hash, client.old_hash)
        return client.secret_hash == stored.secret_hash


class Method(Protocol):
    """One way to authenticate; takes the type of value that ``presented`` makes for it."""

    async def prove(self, shown: Any) -> Proven:  # noqa: ANN401 - each has a type of its own
        """Return who it is.

        Unknown and wrong cost the same work. May use up what is shown: it is called once for a
        request.

        Raises:
            OAuthError: ``invalid_client``, with the reason for the audit.
        """

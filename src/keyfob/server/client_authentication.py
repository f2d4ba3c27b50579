# SPDX-License-Identifier: Apache-2.0
"""Who is asking: client authentication by secret (RFC 6749 section 2.3.1).

Whatever is wrong with the credentials, the answer is the same and so is the work: one look for a
secret, one hash, one comparison. The rest of a client is read once it has proven itself.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from keyfob.server.clients import Client, StoredSecret
from keyfob.server.credentials import SecretVerifier
from keyfob.server.forms import decode_component
from keyfob.server.oauth_errors import OAuthError, invalid_client, invalid_request
from keyfob.server.rotation import Proof, note_use, prove

__all__ = ["METHODS", "ClientAuthenticator", "ClientStore", "Presented", "presented"]

METHODS: Final = ("client_secret_basic", "client_secret_post")


class ClientStore(Protocol):
    """What client authentication needs of the register."""

    async def find_secret(self, client_id: str) -> StoredSecret | None:
        """Return what a client has to prove."""

    async def find_client(self, client_id: str) -> Client | None:
        """Return a client by name."""

    async def end_old_secret(self, client_id: str, secret_hash: str) -> None:
        """Let the old secret of a client stop, if the new one is still this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """The credentials in a request; an empty secret means that none was sent."""

    client_id: str
    secret: str = field(repr=False)


def presented(authorization: Sequence[str], parameters: Mapping[str, str]) -> Presented:
    """Find the credentials in a request.

    Args:
        authorization: The values of its Authorization headers.
        parameters: Its form parameters; empty ones are not in it.

    Raises:
        OAuthError: ``invalid_request`` for more than one way to authenticate,
            ``invalid_client`` for none, or one that is not offered.
    """
    client_id, secret = parameters.get("client_id"), parameters.get("client_secret")
    if not authorization:
        if client_id is None:
            raise invalid_client("credentials_missing")
        return Presented(client_id=client_id, secret=secret or "")
    if len(authorization) > 1 or secret is not None:
        raise invalid_request(
            "the client authenticates in more than one way", reason="two_authentications"
        )
    found = _basic(authorization[0])
    if client_id not in (None, found.client_id):
        raise invalid_request("two client identifiers", reason="two_client_ids")
    return found


def _basic(header: str) -> Presented:
    """Read HTTP Basic: both halves are form-encoded before base64 (RFC 6749 section 2.3.1)."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        raise invalid_client("authentication_unsupported")
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode("utf-8")
        client_id, colon, secret = text.partition(":")
        found = Presented(client_id=decode_component(client_id), secret=decode_component(secret))
    except (ValueError, OAuthError):  # not base64, not ASCII, not UTF-8, not form-encoded
        raise invalid_client("authorization_malformed") from None
    if not colon or not found.client_id:
        raise invalid_client("authorization_malformed")
    return found


class ClientAuthenticator:
    """Checks presented credentials against the register.

    Args:
        clients: The register.
        verify: Compares a secret with a stored hash.
    """

    def __init__(self, clients: ClientStore, verify: SecretVerifier) -> None:
        self._clients = clients
        self._verify = verify

    async def authenticate(self, credentials: Presented) -> Client:
        """Return the client that the credentials prove.

        Raises:
            OAuthError: ``invalid_client``; which of the reasons it was stays in the audit.
        """
        # No more than this is read of a client before it has proven to be that client: a name
        # that is registered must not cost more than one that is not.
        stored = await self._clients.find_secret(credentials.client_id)
        proof = prove(self._verify, credentials.secret, stored)
        proven = proof is not Proof.NONE
        if stored is None:
            raise invalid_client("client_unknown")
        if stored.secret_hash is None:  # a public client: showing a secret is a mistake
            proven = not credentials.secret
        if not proven:
            raise invalid_client("secret_wrong" if credentials.secret else "secret_missing")
        client = await self._clients.find_client(credentials.client_id)
        if client is None or client.secret_hash != stored.secret_hash:  # changed in this moment
            raise invalid_client("client_unknown")
        if not client.enabled:
            raise invalid_client("client_pending" if client.pending else "client_disabled")
        await note_use(self._clients, client, stored, proof)
        return client

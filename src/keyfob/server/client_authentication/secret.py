# SPDX-License-Identifier: Apache-2.0
"""Client authentication by secret (RFC 6749 section 2.3.1), or by a name alone (section 2.1).

Whatever is wrong with the credentials, the answer is the same and so is the work: one look for a
secret, and a hash and a comparison for each of the two that may work (``rotation``).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import ClassVar

from keyfob.server.client_authentication.proven import ClientStore, Proven
from keyfob.server.clients import StoredSecret
from keyfob.server.credentials import SecretVerifier
from keyfob.server.forms import decode_component
from keyfob.server.oauth_errors import OAuthError, invalid_client
from keyfob.server.records import Record
from keyfob.server.rotation import proven_hash

__all__ = ["ClientSecret", "PresentedSecret", "read_basic", "read_post"]


class PresentedSecret(Record, frozen=True, kw_only=True):
    """A name and a secret; an empty secret means that none was sent."""

    hidden: ClassVar[frozenset[str]] = frozenset({"secret"})

    client_id: str
    secret: str

    @property
    def is_name_alone(self) -> bool:
        """Whether nothing is shown but a name."""
        return not self.secret


def read_post(parameters: Mapping[str, str]) -> PresentedSecret:
    """Read ``client_secret_post``.

    Raises:
        OAuthError: ``invalid_client``: a secret without a name.
    """
    client_id = parameters.get("client_id")
    if client_id is None:
        raise invalid_client("credentials_missing")
    return PresentedSecret(client_id=client_id, secret=parameters["client_secret"])


def read_basic(header: str) -> PresentedSecret:
    """Read HTTP Basic: both halves are form-encoded before base64 (RFC 6749 section 2.3.1).

    Raises:
        OAuthError: ``invalid_client``: another scheme, or not well formed.
    """
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        raise invalid_client("authentication_unsupported")
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode("utf-8")
        client_id, colon, secret = text.partition(":")
        found = PresentedSecret(
            client_id=decode_component(client_id), secret=decode_component(secret)
        )
    except (ValueError, OAuthError):  # not base64, not ASCII, not UTF-8, not form-encoded
        raise invalid_client("authorization_malformed") from None
    if not colon or not found.client_id:
        raise invalid_client("authorization_malformed")
    return found


class ClientSecret:
    """Proves a secret, or that a public client has none.

    Args:
        clients: The register.
        verify: Compares a secret with a stored hash.
    """

    def __init__(self, clients: ClientStore, verify: SecretVerifier) -> None:
        self._clients = clients
        self._verify = verify

    async def prove(self, shown: PresentedSecret) -> Proven:
        """Return the client that the secret proves.

        Raises:
            OAuthError: ``invalid_client``; which of the reasons it was stays in the audit.
        """
        # No more than this is read of a client before it has proven to be that client: a name
        # that is registered must not cost more than one that is not.
        stored = await self._clients.find_secret(shown.client_id)
        by = proven_hash(self._verify, shown.secret, stored)
        if stored is None:
            raise invalid_client("client_unknown")
        # A public client has nothing to show: showing a secret is a mistake.
        proven = not shown.secret if stored.public else by is not None
        if not proven:
            raise invalid_client(_fault(shown, stored))
        return Proven(client_id=shown.client_id, stored=stored, secret_hash=by)


def _fault(shown: PresentedSecret, stored: StoredSecret) -> str:
    if shown.secret:
        return "secret_wrong"
    return "certificate_missing" if stored.certificate else "secret_missing"

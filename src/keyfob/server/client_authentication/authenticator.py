# SPDX-License-Identifier: Apache-2.0
"""The one authenticator: finds the method for what is shown, and the client behind what it proves.

In two steps, because an endpoint may have to look again. ``prove`` is done once for a request, and
may use up what was shown; ``admit`` reads the client anew and can be repeated: it refuses as soon
as the client is disabled, or is no longer registered with what was proven.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from keyfob.server.client_authentication.assertion import AssertionRules, PresentedAssertion
from keyfob.server.client_authentication.certificate import (
    PresentedCertificate,
    TlsClientCertificate,
)
from keyfob.server.client_authentication.grant_assertion import (
    GrantAssertion,
    PresentedGrantAssertion,
)
from keyfob.server.client_authentication.presented import Presented
from keyfob.server.client_authentication.private_key_jwt import PrivateKeyJwt, UsedAssertionStore
from keyfob.server.client_authentication.proven import ClientStore, Method, Proven
from keyfob.server.client_authentication.secret import ClientSecret, PresentedSecret
from keyfob.server.clients import Client
from keyfob.server.credentials import SecretVerifier
from keyfob.server.oauth_errors import invalid_client
from keyfob.server.rotation import note_use

__all__ = ["ClientAuthenticator", "client_authenticator"]


class ClientAuthenticator:
    """Checks presented credentials against the register.

    Args:
        clients: The register.
        methods: What proves each type of credentials that ``presented`` makes.
    """

    def __init__(self, clients: ClientStore, methods: Mapping[type, Method]) -> None:
        self._clients = clients
        self._methods = methods

    async def authenticate(self, credentials: Presented) -> Client:
        """Return the client that the credentials prove.

        Raises:
            OAuthError: ``invalid_client``; which of the reasons it was stays in the audit.
        """
        return await self.admit(await self.prove(credentials))

    async def prove(self, credentials: Presented | PresentedGrantAssertion) -> Proven:
        """Return who the credentials prove somebody to be; once for a request.

        Raises:
            OAuthError: ``invalid_client``.
        """
        return await self._methods[type(credentials)].prove(credentials)

    async def admit(self, proven: Proven) -> Client:
        """Return the client as it is registered now.

        Raises:
            OAuthError: ``invalid_client``: it is disabled, pending, gone, or has other credentials
                now. ``temporarily_unavailable``: its use of a new secret cannot be written down.
        """
        client = await self._clients.find_client(proven.client_id)
        if client is None or not proven.still_holds_for(client):  # changed in this moment
            raise invalid_client("client_unknown")
        if not client.enabled:
            raise invalid_client("client_pending" if client.pending else "client_disabled")
        await note_use(self._clients, proven.client_id, proven.stored, proven.secret_hash)
        return client


def client_authenticator(
    clients: ClientStore,
    verify: SecretVerifier,
    used: UsedAssertionStore,
    rules: AssertionRules,
    clock: Callable[[], float],
    *,
    alone: GrantAssertion | None = None,
) -> ClientAuthenticator:
    """Compose the methods of this server.

    Args:
        clients: The register.
        verify: Compares a client's secret with the stored hash.
        used: Which assertions were used.
        rules: What an assertion must say.
        clock: Unix seconds.
        alone: Proves assertions that stand for a client's credentials; None: there are none.
    """
    more: dict[type, Method] = {} if alone is None else {PresentedGrantAssertion: alone}
    return ClientAuthenticator(
        clients,
        {
            PresentedSecret: ClientSecret(clients, verify),
            PresentedAssertion: PrivateKeyJwt(clients, used, rules, clock),
            PresentedCertificate: TlsClientCertificate(clients, clock),
            **more,
        },
    )

# SPDX-License-Identifier: Apache-2.0
"""Who is let in to ask, at every endpoint that wants to know: authentication, limits, refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from keyfob.server.audit import AuditSink, RequestKind, TokenEvent
from keyfob.server.certificate_binding import certificate_of
from keyfob.server.client_authentication import ClientAuthenticator, Proven, presented
from keyfob.server.client_authentication.grant_assertion import PresentedGrantAssertion
from keyfob.server.clients import Client, ClientKind
from keyfob.server.limits import Attempt, Limits
from keyfob.server.names import shown_name
from keyfob.server.oauth_errors import OAuthError, error_response

__all__ = ["Admission", "Asked"]

# What every honest client is told: one that polls as it shall (RFC 8628 section 3.5), and one that
# has no nonce yet (RFC 9449 section 8).
_NO_MISTAKES: Final = frozenset({"authorization_pending", "slow_down", "use_dpop_nonce"})


@dataclass(slots=True)
class Asked:
    """One request on its way, for the audit.

    Args:
        request: What it asks for.
        peer: The address that it came from.
        client_id: Who claims to ask, as far as known.
        subject: The device that it is about, as far as known.
        grant_type: The grant that it asks by; empty where it is none.
        owing: Whether a refusal is a mistake of its network: nobody was named, or somebody who
            has nothing to prove. Otherwise the limits have counted what there is to count.
        operator: The person who asks, in a browser, as far as known.
    """

    request: RequestKind
    peer: str
    client_id: str = ""
    subject: str = ""
    grant_type: str = ""
    owing: bool = True
    operator: str = ""

    @classmethod
    def of(cls, request: Request, kind: RequestKind) -> Asked:
        """Begin with what is known of every request."""
        return cls(request=kind, peer=request.client.host if request.client else "")

    def refused(self, error: OAuthError, *, at: float) -> TokenEvent:
        """Return what the audit is told of a refusal; what is not a name is not shown."""
        return TokenEvent(
            at=at,
            outcome="refused",
            peer=self.peer,
            request=self.request,
            grant_type=self.grant_type,
            client_id=shown_name(self.client_id),
            subject=shown_name(error.subject or self.subject),
            error=error.error,
            reason=error.reason,
            operator=self.operator,
        )


class Admission:
    """The door of the server.

    Args:
        authenticator: Checks who asks.
        limits: How often somebody may ask and be wrong.
        audit: Is told of every refusal.
        clock: Unix seconds.
    """

    def __init__(
        self,
        *,
        authenticator: ClientAuthenticator,
        limits: Limits,
        audit: AuditSink,
        clock: Callable[[], float],
    ) -> None:
        self._authenticator = authenticator
        self._limits = limits
        self._audit = audit
        self._clock = clock

    async def prove(
        self,
        request: Request,
        parameters: Mapping[str, str],
        asked: Asked,
        *,
        another_follows: bool = False,
        alone: PresentedGrantAssertion | None = None,
    ) -> tuple[Client, Proven]:
        """Return who asks, and what was proven; once for a request.

        Args:
            request: For its Authorization headers, and the certificate of its connection.
            parameters: Of its form; empty where it has none.
            asked: Learns who claims to ask.
            another_follows: Whether somebody else has to prove himself in this request, too. Then
                a client that shows only its name is not counted: all that use it would share one
                allowance with strangers.
            alone: What stands for a client's credentials in a request that has none.

        Raises:
            OAuthError: ``invalid_request``, ``invalid_client``, or ``temporarily_unavailable``
                with status 429.
        """
        asked.client_id = parameters.get("client_id", "")
        certificate = certificate_of(request)
        credentials = alone or presented(
            request.headers.getlist("authorization"), parameters, certificate
        )
        asked.client_id = credentials.client_id
        if another_follows and credentials.is_name_alone:
            proven = await self._authenticator.prove(credentials)
            return await self._authenticator.admit(proven), proven
        async with self.attempt(credentials.client_id, asked) as attempt:
            proven = await self._authenticator.prove(credentials)
            client = await self._authenticator.admit(proven)
            if not client.public:
                attempt.proved(_counted_as(client))
        asked.client_id = client.client_id
        asked.owing = client.public
        return client, proven

    async def again(self, proven: Proven) -> Client:
        """Return the client as it is registered now.

        Raises:
            OAuthError: ``invalid_client``: it is disabled, gone, or has other credentials now.
        """
        return await self._authenticator.admit(proven)

    def attempt(self, name: str, asked: Asked) -> AbstractAsyncContextManager[Attempt]:
        """Let somebody prove himself inside; see ``Limits.attempt``."""
        asked.owing = False
        return self._limits.attempt(name, asked.peer)

    async def refuse(self, asked: Asked, error: OAuthError) -> Response:
        """Return the answer to a request that is refused, and tell the audit."""
        return error_response(await self.refused(asked, error))

    async def refused(self, asked: Asked, error: OAuthError) -> OAuthError:
        """Tell the audit of a refusal, and return what to answer in whatever form."""
        # What every honest client is told is no mistake, and nothing that the audit is told; nor
        # is what is the server's own fault.
        mistake = error.status != 503 and (error.told or error.error not in _NO_MISTAKES)
        if asked.owing and mistake:
            error = await self._limits.nameless(asked.peer, error)
        if error.told:
            self._audit(asked.refused(error, at=self._clock()))
        return error


def _counted_as(client: Client) -> ClientKind:
    """Return whose allowance a client has: a gateway asks for many, as an application does."""
    return ClientKind.APPLICATION if client.metadata.may_act_for else client.kind

# SPDX-License-Identifier: Apache-2.0
"""What a token is bound to beside its device: keys and certificates of the client (RFC 7800).

Each way to bind, RFC 8705's certificates and RFC 9449's proofs among them, looks at the same
request, and says what the token's ``cnf`` has to hold. They are asked before the grant decides:
what is shown wrongly is refused, whatever the grant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from starlette.requests import Request

from keyfob.server.clients import Client
from keyfob.server.oauth_errors import invalid_request

__all__ = ["Binding", "confirmation"]


class Binding(Protocol):
    """One way to bind a token to what the client has."""

    async def confirm(
        self, request: Request, client: Client, parameters: Mapping[str, str], *, now: float
    ) -> Mapping[str, object]:
        """Return the members of ``cnf`` that this way adds; empty where the client took another.

        Args:
            request: For its headers and its connection.
            client: Who asks, authenticated.
            parameters: Of the form.
            now: In Unix seconds.

        Raises:
            OAuthError: What was shown is not good, or has to be shown and was not.
        """


async def confirmation(
    bindings: Sequence[Binding],
    request: Request,
    client: Client,
    parameters: Mapping[str, str],
    *,
    now: float,
) -> Mapping[str, object]:
    """Return the ``cnf`` of the token that is asked for; empty for a plain bearer token.

    A token is bound in one way: a resource server that knows one of two might ask for that one
    only, or, as our guard, refuse what it cannot prove as a whole.

    Raises:
        OAuthError: From one of the bindings; ``invalid_request``: two of them bind it.
    """
    members: Mapping[str, object] = {}
    for binding in bindings:
        found = await binding.confirm(request, client, parameters, now=now)
        if members and found:
            raise invalid_request("a token is bound in one way", reason="two_confirmations")
        members = members or found
    return members

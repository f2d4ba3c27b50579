# SPDX-License-Identifier: Apache-2.0
"""``POST /oauth2/revoke``: a client ends a token that it has (RFC 7009).

The steps, in this order, each with the error it may end in:

    1 the form                       invalid_request
    2 who asks                       invalid_client
    3 the token                      unsupported_token_type
    4 issued to this client, or for  unauthorized_client
    5 on the disk                    temporarily_unavailable

A token that is unknown, or not good any more, is what the client wanted: 200 (section 2.2). What
is answered with 200 holds from then on here, and reaches guards by ``/oauth2/revocations``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from keyfob.errors import UpstreamError
from keyfob.http.json_response import NO_STORE
from keyfob.server.admission import Admission, Asked
from keyfob.server.audit import AuditSink, TokenEvent
from keyfob.server.clients import Client, ClientKind
from keyfob.server.forms import read_form
from keyfob.server.oauth_errors import OAuthError, invalid_request, token_of_another
from keyfob.server.token_lookup import FoundToken, OtherTokenTypeError, TokenLookup

__all__ = ["RevocationEndpoint"]


class RefreshFamilies(Protocol):
    """Refresh tokens, which end as a family."""

    async def revoke_family_of(self, token: str, client_id: str) -> str | None:
        """End the family of a refresh token that was issued to a client; return its device."""


class RevocationEndpoint:
    """Ends tokens.

    Args:
        admission: Lets in who may ask.
        tokens: The access tokens that there are.
        refresh_tokens: The other kind; the whole family ends (RFC 7009 section 2.1).
        audit: Is told of every token that was ended.
        clock: Unix seconds.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        tokens: TokenLookup,
        refresh_tokens: RefreshFamilies,
        audit: AuditSink,
        clock: Callable[[], float],
    ) -> None:
        self._admission = admission
        self._tokens = tokens
        self._refresh_tokens = refresh_tokens
        self._audit = audit
        self._clock = clock

    async def post(self, request: Request) -> Response:
        """Answer one request (RFC 7009 section 2.2)."""
        asked = Asked.of(request, "revocation")
        try:
            await self._end(request, asked)
        except OAuthError as error:
            return await self._admission.refuse(asked, error)
        return Response(status_code=200, headers=NO_STORE)

    async def _end(self, request: Request, asked: Asked) -> None:
        parameters = await read_form(request)
        client, _ = await self._admission.prove(request, parameters, asked)
        token = parameters.get("token")
        if token is None:
            raise invalid_request("token is required", reason="parameter_missing")
        device = await self._refresh_tokens.revoke_family_of(token, client.client_id)
        if device is not None:
            self._tell(asked, device)
            return
        now = self._clock()
        try:
            found = await self._tokens.find(token, now, good=False)
        except OtherTokenTypeError:
            raise OAuthError(
                "unsupported_token_type",
                "tokens of this type cannot be revoked",
                reason="type_refused",
            ) from None
        if found is None:
            return
        asked.subject = found.subject
        _check_owner(client, found)
        await _revoke(self._tokens, found, now)
        self._tell(asked, found.subject, token_id=found.token_id, expires_at=found.expires_at)

    def _tell(self, asked: Asked, device: str, *, token_id: str = "", expires_at: int = 0) -> None:
        self._audit(
            TokenEvent(
                at=self._clock(),
                outcome="revoked",
                peer=asked.peer,
                request=asked.request,
                client_id=asked.client_id,
                subject=device,
                token_id=token_id,
                expires_at=expires_at,
            )
        )


def _check_owner(client: Client, found: FoundToken) -> None:
    """Let a client end what was issued to it, and a device what was issued for it.

    RFC 7009 section 2.1 knows the first. The second is a device's own word about its rights: it
    may end what an application got with them.
    """
    is_own = client.kind is ClientKind.DEVICE and client.client_id == found.subject
    if not is_own and client.client_id != found.client_id:
        raise token_of_another()


async def _revoke(tokens: TokenLookup, found: FoundToken, now: float) -> None:
    # RFC 7009 section 2.2.1: after a 503 the client takes the token for good, and tries again.
    try:
        done = await tokens.revoke(found, now)
    except UpstreamError:
        raise _not_now("store_unavailable") from None
    if not done:
        raise _not_now("too_many_revocations")


def _not_now(reason: str) -> OAuthError:
    return OAuthError("temporarily_unavailable", "try again later", reason=reason)

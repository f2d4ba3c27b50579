# SPDX-License-Identifier: Apache-2.0
"""``POST /oauth2/token``: the token endpoint (RFC 6749 section 3.2).

The steps, in this order, each with the error it may end in:

    1 the form                  invalid_request
    2 the grant is known        unsupported_grant_type
    3 who asks                  invalid_client, temporarily_unavailable (429: ``limits``)
    4 what it is bound to       by each binding: ``confirmation``
    5 registered for the grant  unauthorized_client
    6 the grant itself          invalid_grant, temporarily_unavailable (429: ``limits``)
    7 the rights and the target invalid_scope, invalid_authorization_details, invalid_target
    8 the second                temporarily_unavailable
    9 the token                 temporarily_unavailable
   10 what is written down      invalid_grant, temporarily_unavailable

Step 10 begins a family of refresh tokens, or replaces the one that was shown, or notes that an
assertion is used up or what a token was exchanged for, and then keeps an opaque token (``Mint``);
it is the only one that changes something, and nothing can be refused after it.

Why step 8. A revocation concerns every token of a device whose ``iat``, a whole second, is not
later than its own. A device that is enabled again within that second would get a token that is
revoked from its birth; it waits for the next second instead, and steps 3 and 5 to 7 are done anew,
because the register may have changed meanwhile. Only the credentials are proven once, which uses an
assertion up; that the client is still registered with them is looked at anew. ``iat`` is taken
before that look: ``devices`` says what depends on that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response

from keyfob.http.json_response import NO_STORE, json_response
from keyfob.server.admission import Admission, Asked
from keyfob.server.asked_rights import AskedRights
from keyfob.server.audit import AuditSink, TokenEvent
from keyfob.server.certificate_binding import MEMBER, check_certificate, family_certificate
from keyfob.server.client_authentication.grant_assertion import assertion_alone
from keyfob.server.clients import Client, ClientKind
from keyfob.server.confirmation import Binding, confirmation
from keyfob.server.forms import read_form
from keyfob.server.grants import Grant
from keyfob.server.grants.password import Password
from keyfob.server.issue import Access, IssuedToken
from keyfob.server.limits import Attempt
from keyfob.server.minting import Mint
from keyfob.server.oauth_errors import OAuthError, invalid_request
from keyfob.server.refresh_tokens import RefreshTokens
from keyfob.server.resources import REPEATABLE

__all__ = ["TokenEndpoint"]

# One wait brings the next second; where it does not, the clock was set back.
_ATTEMPTS: Final = 3
_NOBODY: Final = nullcontext()


class TokenEndpoint:
    """Issues tokens.

    Args:
        admission: Lets in who may ask.
        grants: The grants on offer, by grant type.
        rights: What a request narrows them to.
        bindings: What tokens may be bound to.
        issuer: Mints the tokens.
        answered: Returns the headers of an answer, from what its token is bound to and the time.
        refresh_tokens: Has those that go with them.
        issued: Is told of each device that got a token, and when.
        audit: Is told of every outcome.
        clock: Unix seconds.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        grants: Mapping[str, Grant],
        rights: AskedRights,
        bindings: Sequence[Binding],
        issuer: Mint,
        refresh_tokens: RefreshTokens,
        issued: Callable[[str, float], None],
        audit: AuditSink,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        answered: Callable[[Mapping[str, object], float], Mapping[str, str]],
    ) -> None:
        self._admission = admission
        self._grants = grants
        self._rights = rights
        self._bindings = bindings
        self._issuer = issuer
        self._refresh_tokens = refresh_tokens
        self._issued = issued
        self._audit = audit
        self._clock = clock
        self._sleep = sleep
        self._answered = answered

    async def post(self, request: Request) -> Response:
        """Answer one request (RFC 6749 sections 5.1 and 5.2)."""
        asked = Asked.of(request, "token")
        try:
            token = await self._token(request, asked)
        except OAuthError as error:
            return await self._admission.refuse(asked, error)
        self._audit(self._event_of(asked, token))
        document: dict[str, object] = {
            "access_token": token.access_token,
            "token_type": token.token_type,
            "expires_in": token.expires_in,
            **({"scope": token.scope} if token.scope else {}),
            **token.members,
        }
        if token.refresh_token is not None:
            document["refresh_token"] = token.refresh_token
        if token.cnf is not None:
            document["cnf"] = token.cnf
        return json_response(document, headers={**NO_STORE, **token.headers})

    async def _token(self, request: Request, asked: Asked) -> IssuedToken:
        parameters = await read_form(request, repeatable=REPEATABLE)
        grant = self._grant(parameters, asked)
        asked.subject = parameters.get("username", "")
        now = self._clock()
        client, proven = await self._admission.prove(
            request,
            parameters,
            asked,
            another_follows=_names_device(grant, parameters),
            alone=assertion_alone(request.headers, parameters),
        )
        bound_to: Mapping[str, object] | None = None
        for _ in range(_ATTEMPTS):
            async with self._device_proves(grant, parameters, asked) as attempt:
                if bound_to is None:  # a proof counts once
                    bound_to = await self._bound_to(request, client, parameters, asked, now=now)
                access = await self._access(grant, client, parameters)
                if attempt is not None:
                    attempt.proved(ClientKind.DEVICE)
            asked.subject = access.subject
            check_certificate(request, access)
            _check_key(access, bound_to)
            _check_family(client, access, bound_to)
            access = self._rights.narrow(
                access, parameters, grant_type=grant.grant_type, proven=bound_to
            )
            scopes = access.scopes
            if int(now) > access.revoked_through:
                token = await self._issuer.issue(
                    client, access, scopes, now=now, confirmation=bound_to
                )
                refresh_token = await self._refresh_tokens.issue(
                    access,
                    scopes,
                    now=now,
                    jkt=_refresh_key(client, bound_to),
                    certificate=family_certificate(client, bound_to),
                )
                self._issued(access.subject, now)
                headers = self._answered(bound_to, now)
                if refresh_token is None and not headers:  # most; copying costs what a read costs
                    return token
                return replace(token, refresh_token=refresh_token, headers=headers)
            # A little more: event loops wake a millisecond early.
            await self._sleep(min(1.0, access.revoked_through + 1 - now) + 0.005)
            now = self._clock()
            client = await self._admission.again(proven)
        raise OAuthError(
            "temporarily_unavailable", "try again later", reason="clock_before_revocation"
        )

    def _grant(self, parameters: Mapping[str, str], asked: Asked) -> Grant:
        grant_type = parameters.get("grant_type")
        if grant_type is None:
            raise invalid_request("grant_type is required", reason="parameter_missing")
        grant = self._grants.get(grant_type)
        if grant is None:
            raise OAuthError("unsupported_grant_type", "no such grant here", reason="grant_unknown")
        asked.grant_type = grant.grant_type
        return grant

    def _device_proves(
        self, grant: Grant, parameters: Mapping[str, str], asked: Asked
    ) -> AbstractAsyncContextManager[Attempt | None]:
        """Let the device that is named prove itself inside; nobody where there is none.

        Proofs of keys are looked at inside, too: behind a public client's name is nobody yet, and a
        network that has to wait must not make us write.
        """
        if not _names_device(grant, parameters):
            return _NOBODY
        return self._admission.attempt(parameters["username"], asked)

    async def _bound_to(
        self,
        request: Request,
        client: Client,
        parameters: Mapping[str, str],
        asked: Asked,
        *,
        now: float,
    ) -> Mapping[str, object]:
        # The limits count what is no password as mistakes of the network.
        owing, asked.owing = asked.owing, client.public
        bound_to = await confirmation(self._bindings, request, client, parameters, now=now)
        asked.owing = owing
        return bound_to

    async def _access(self, grant: Grant, client: Client, parameters: Mapping[str, str]) -> Access:
        if grant.grant_type not in client.grants:
            raise OAuthError(
                "unauthorized_client",
                "the client is not registered for this grant",
                reason="grant_not_registered",
            )
        return await grant.authorize(client, parameters)

    def _event_of(self, asked: Asked, token: IssuedToken) -> TokenEvent:
        return TokenEvent(
            at=self._clock(),
            outcome="issued",
            peer=asked.peer,
            grant_type=asked.grant_type,
            client_id=asked.client_id,
            subject=asked.subject,
            token_id=token.token_id,
            expires_at=token.expires_at,
        )


def _check_key(access: Access, bound_to: Mapping[str, object]) -> None:
    """Refuse a refresh token that is bound to another key than was proven (RFC 9449 section 5)."""
    if access.jkt is not None and access.jkt != bound_to.get("jkt"):
        raise OAuthError(
            "invalid_grant",
            "the refresh token is not valid",
            reason="refresh_token_of_another_key",
            subject=access.subject,
        )


def _check_family(client: Client, access: Access, bound_to: Mapping[str, object]) -> None:
    """Refuse a public client's refresh token that is not bound as its registration says by now.

    It is of a login before ``--dpop`` or ``--certificate-bound`` was set. Whoever has it could bind
    it to a key of his own, which is what RFC 9449 section 5 and RFC 8705 section 4 are against; a
    confidential client proves itself, and goes on with its next token bound.
    """
    if not client.public or access.refresh_token is None:
        return
    by_proof = client.metadata.dpop_bound_access_tokens and access.jkt is None
    if by_proof or (MEMBER in bound_to and access.certificate is None):
        raise OAuthError(
            "invalid_grant",
            "the refresh token is not valid",
            reason="refresh_token_not_bound",
            subject=access.subject,
        )


def _refresh_key(client: Client, bound_to: Mapping[str, object]) -> str | None:
    """Return the key that a login's refresh tokens are bound to.

    Only those of public clients are: others prove themselves, which binds them already, and may
    change their keys (RFC 9449 section 5).
    """
    jkt = bound_to.get("jkt")
    return jkt if client.public and isinstance(jkt, str) else None


def _names_device(grant: Grant, parameters: Mapping[str, str]) -> bool:
    """Say whether the device has to prove itself, too, and says which it is."""
    return grant.grant_type == Password.grant_type and "username" in parameters

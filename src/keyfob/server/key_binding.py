# SPDX-License-Identifier: Apache-2.0
"""Binds a token to a key that its MQTT client proves to the broker (RFC 9431, RFC 7800).

Which key is the client's registration and its request together:

    registered for   without req_cnf               with req_cnf
    nothing          a bearer token                 that public key, or the registered one it names
    jwk              the registered key, if it      the registered key that it names or shows;
                     is the only one                no other
    symmetric        a new key for each token       refused

Nothing is proven here, and need not be: to bind a token to a key of somebody else only takes it
away from oneself.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request

from keyfob.server.clients import Client
from keyfob.server.oauth_errors import invalid_request
from keyfob.server.req_cnf import confirmation_key, read_req_cnf, unsupported_key
from keyfob.tokens.keys import thumbprint

__all__ = ["KeyBinding"]


class KeyBinding:
    """A ``Binding``: ``jwk`` for a public key, ``kid`` for a symmetric one, made with the token."""

    async def confirm(
        self,
        request: Request,  # noqa: ARG002 - the form says it
        client: Client,
        parameters: Mapping[str, str],
        *,
        now: float,  # noqa: ARG002 - keys have no time
    ) -> Mapping[str, object]:
        """Return the key that the token is bound to; nothing where nobody asked for one.

        Raises:
            OAuthError: ``invalid_request`` or ``unsupported_pop_key``.
        """
        choice, text = client.metadata.access_token_confirmation, parameters.get("req_cnf")
        if text is None and not choice:
            return {}
        if choice == "symmetric":
            if text is not None:
                raise invalid_request(
                    "the client gets a key with each token", reason="req_cnf_not_taken"
                )
            return {"kid": secrets.token_urlsafe(16)}
        registered = _registered(client.jwks)
        if text is None:
            return {"jwk": _only(registered)}
        return {"jwk": _asked(read_req_cnf(text), registered, only_registered=bool(choice))}


def _asked(
    asked: Mapping[str, Any], registered: Sequence[Mapping[str, Any]], *, only_registered: bool
) -> Mapping[str, Any]:
    if "kid" in asked:
        named = [key for key in registered if key["kid"] == asked["kid"]]
        if len(named) != 1:
            raise unsupported_key("pop_key_unknown")
        return confirmation_key(named[0])
    key = confirmation_key(asked["jwk"])
    if only_registered and thumbprint(key) not in map(thumbprint, registered):
        raise unsupported_key("pop_key_not_registered")
    return key


def _only(registered: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    if len(registered) != 1:
        raise invalid_request(
            "req_cnf has to name one of the client's keys by its kid", reason="pop_key_ambiguous"
        )
    return confirmation_key(registered[0])


def _registered(jwks: str | None) -> Sequence[Mapping[str, Any]]:
    """Return the keys as ``client_keys.client_jwks`` wrote them: each has a ``kid``."""
    return () if jwks is None else tuple(json.loads(jwks)["keys"])

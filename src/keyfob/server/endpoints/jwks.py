# SPDX-License-Identifier: Apache-2.0
"""``GET /oauth2/jwks``: the public keys that tokens are verified with (RFC 7517 section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from keyfob.http.json_response import json_response
from keyfob.tokens.sign import SigningKey

__all__ = ["KeySetEndpoint"]

# How long a resource server may go without looking. Keys are read at the server's start; rotating
# them will have to publish a new one this long before the first token is signed with it.
_CACHE: Final = {"Cache-Control": "public, max-age=300"}


class KeySetEndpoint:
    """Publishes a key set.

    Args:
        keys: The signing keys, of which only the public halves are shown.
    """

    def __init__(self, keys: Sequence[SigningKey]) -> None:
        self._document = {"keys": [key.public_jwk() for key in keys]}

    async def get(self, request: Request) -> Response:  # noqa: ARG002 - the same for everybody
        """Answer with the key set."""
        return json_response(self._document, headers=_CACHE)

# SPDX-License-Identifier: Apache-2.0
"""``GET /oauth2/jwks``: the public keys that tokens are verified with (RFC 7517 section 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from keyfob.http.json_response import json_response
from keyfob.server.signing.timetable import JWKS_MAX_AGE

__all__ = ["KeySetEndpoint"]

# A new key is in the set for longer than this before the first token is signed with it.
_CACHE: Final = {"Cache-Control": f"public, max-age={JWKS_MAX_AGE}"}


class PublishedKeys(Protocol):
    """What the endpoint needs of the key ring."""

    def public_keys(self, now: float) -> list[dict[str, str]]:
        """Return the public keys that are published at a moment."""


class KeySetEndpoint:
    """Publishes a key set.

    Args:
        keys: The signing keys, of which only the public halves are shown.
        clock: Unix seconds.
    """

    def __init__(self, keys: PublishedKeys, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._clock = clock

    async def get(self, request: Request) -> Response:  # noqa: ARG002 - the same for everybody
        """Answer with the key set."""
        return json_response({"keys": self._keys.public_keys(self._clock())}, headers=_CACHE)

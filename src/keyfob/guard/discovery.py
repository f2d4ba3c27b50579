# SPDX-License-Identifier: Apache-2.0
"""Where an issuer's endpoints are: authorization server metadata (RFC 8414, OIDC Discovery 1.0)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from keyfob.errors import UpstreamError
from keyfob.guard.fetching import Fetcher
from keyfob.oauth.metadata import Metadata, metadata_urls, read_metadata

__all__ = ["Endpoint", "discover", "discover_jwks_uri"]

ENDPOINT_FRESH: Final = 3600.0
"""Seconds after which an endpoint that the metadata named is looked up again."""

LOOK_AGAIN: Final = 60.0
"""Seconds until the next try where that failed."""


async def discover(fetcher: Fetcher, issuer: str) -> Metadata:
    """Read an issuer's metadata.

    Args:
        fetcher: What fetches.
        issuer: The issuer identifier, exactly as its tokens carry it.

    Raises:
        UpstreamError: No metadata, or it is for another issuer (RFC 8414 section 3.3).
        ConfigError: The issuer is no URL that may be fetched.
    """
    failure: UpstreamError | None = None
    for url in metadata_urls(issuer):
        try:
            answer = await fetcher.get(url)
            metadata = read_metadata(issuer, url, answer.body)
        except UpstreamError as error:
            failure = failure or error
            continue
        if metadata is None:
            message = f"{url}: the metadata is for another issuer than {issuer}"
            raise UpstreamError(message, code="upstream_invalid")
        return metadata
    raise failure or UpstreamError(f"{issuer}: no metadata")


async def discover_jwks_uri(fetcher: Fetcher, issuer: str) -> str:
    """Ask an issuer for the address of its key set; raises as ``discover`` and ``address``."""
    return (await discover(fetcher, issuer)).address("jwks_uri")


class Endpoint:
    """Where one endpoint of an issuer is: as configured, or as its metadata says at the time.

    Args:
        issuer: The issuer identifier.
        name: What the metadata calls it, such as ``introspection_endpoint``.
        configured: Its address, if it is known.
        monotonic: A clock that never steps.
    """

    def __init__(
        self,
        issuer: str,
        name: str,
        *,
        configured: str = "",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._name = name
        self._configured = configured
        self._monotonic = monotonic
        self._found = ""
        self._stale_at = 0.0
        self._one_at_a_time = asyncio.Lock()

    @property
    def shown(self) -> str:
        """What to call it to people: its address, or the issuer while it is not known."""
        return self._configured or self._found or self._issuer

    async def address(self, fetcher: Fetcher) -> str:
        """Return the address; whoever needs it first looks it up for everybody.

        The last good one stays while there are no metadata, as keys do.

        Raises:
            UpstreamError: As ``discover`` and ``Metadata.address``.
        """
        if self._configured:
            return self._configured
        async with self._one_at_a_time:
            if not self._found or self._monotonic() >= self._stale_at:
                await self._look_up(fetcher)
        return self._found

    async def _look_up(self, fetcher: Fetcher) -> None:
        # Before it is asked: whoever looks it up may be given up meanwhile, and the others go on.
        self._stale_at = self._monotonic() + LOOK_AGAIN
        try:
            metadata = await discover(fetcher, self._issuer)
        except UpstreamError:
            if not self._found:
                raise
            return
        self._found = metadata.address(self._name)
        self._stale_at = self._monotonic() + ENDPOINT_FRESH

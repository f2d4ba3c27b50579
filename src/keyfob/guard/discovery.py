# SPDX-License-Identifier: Apache-2.0
"""Where an issuer's endpoints are: authorization server metadata (RFC 8414, OIDC Discovery 1.0)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from keyfob.errors import ConfigError, UpstreamError
from keyfob.guard.fetching import Fetcher, is_loopback, require_safe
from keyfob.tokens.json_strict import JsonError, loads

__all__ = ["Endpoint", "Metadata", "discover", "discover_jwks_uri", "metadata_urls"]

ENDPOINT_FRESH: Final = 3600.0
"""Seconds after which an endpoint that the metadata named is looked up again."""

LOOK_AGAIN: Final = 60.0
"""Seconds until the next try where that failed."""

_OAUTH: Final = "/.well-known/oauth-authorization-server"
_OPENID: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """An issuer's metadata (RFC 8414 section 2).

    Attributes:
        issuer: The issuer identifier.
        url: Where it was found.
    """

    issuer: str
    url: str
    _members: Mapping[str, object] = field(repr=False)

    def address(self, name: str) -> str:
        """Return the address under a name, such as ``jwks_uri``; it may be fetched.

        Only what is used is checked: an endpoint that is of no use here spoils no other.

        Raises:
            UpstreamError: There is none, or the issuer may not point there.
        """
        address = self._members.get(name)
        if not isinstance(address, str):
            raise self._wrong(f"names no {name}")
        try:
            target = require_safe(address)
        except ConfigError as error:
            raise self._wrong(f"{name}: {error.message}") from None
        if not _may_point_to(urlsplit(self.issuer), target):
            raise self._wrong(f"a {name} on this machine or without TLS, from an issuer elsewhere")
        return address

    def _wrong(self, fault: str) -> UpstreamError:
        return UpstreamError(f"{self.url}: {fault}", code="upstream_invalid")


def metadata_urls(issuer: str) -> tuple[str, str]:
    """List where an issuer's metadata may be, the better place first.

    RFC 8414 section 3.1 inserts its well-known part between host and path; OpenID Connect
    Discovery 1.0 section 4 appends its own.

    Raises:
        ConfigError: The issuer is no URL that may be fetched, or has a query.
    """
    parts = require_safe(issuer)
    if parts.query:
        raise ConfigError(f"{issuer}: an issuer has no query (RFC 8414 section 2)")
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return f"{origin}{_OAUTH}{path}", f"{origin}{path}{_OPENID}"


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
            document = _json_object(url, answer.body)
        except UpstreamError as error:
            failure = failure or error
            continue
        if document.get("issuer") != issuer:
            message = f"{url}: the metadata is for another issuer than {issuer}"
            raise UpstreamError(message, code="upstream_invalid")
        return Metadata(issuer=issuer, url=url, _members=document)
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


def _json_object(url: str, body: bytes) -> dict[str, object]:
    try:
        document = loads(body)
    except JsonError as error:
        raise UpstreamError(f"{url}: {error}", code="upstream_invalid") from error
    if not isinstance(document, dict):
        raise UpstreamError(f"{url}: not a JSON object", code="upstream_invalid")
    return document


def _may_point_to(issuer: SplitResult, target: SplitResult) -> bool:
    """Keep an issuer elsewhere from steering the guard to this machine or away from TLS."""
    return is_loopback(issuer) or (target.scheme == "https" and not is_loopback(target))

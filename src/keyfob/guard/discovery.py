# SPDX-License-Identifier: Apache-2.0
"""Where an issuer keeps its keys: authorization server metadata (RFC 8414, OIDC Discovery 1.0)."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

from keyfob.errors import ConfigError, UpstreamError
from keyfob.guard.fetching import Fetcher, is_loopback, require_safe
from keyfob.tokens.json_strict import JsonError, loads

__all__ = ["discover_jwks_uri", "metadata_urls"]

_OAUTH: Final = "/.well-known/oauth-authorization-server"
_OPENID: Final = "/.well-known/openid-configuration"


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


async def discover_jwks_uri(fetcher: Fetcher, issuer: str) -> str:
    """Ask an issuer for the address of its key set.

    Args:
        fetcher: What fetches.
        issuer: The issuer identifier, exactly as its tokens carry it.

    Raises:
        UpstreamError: No metadata, or it is for another issuer (RFC 8414 section 3.3), or it
            points to an address that this issuer may not point to.
        ConfigError: The issuer is no URL that may be fetched.
    """
    failure: UpstreamError | None = None
    for url in metadata_urls(issuer):
        try:
            answer = await fetcher.get(url)
            metadata = _json_object(url, answer.body)
        except UpstreamError as error:
            failure = failure or error
            continue
        return _jwks_uri(url, metadata, issuer)
    raise failure or UpstreamError(f"{issuer}: no metadata")


def _json_object(url: str, body: bytes) -> dict[str, object]:
    try:
        document = loads(body)
    except JsonError as error:
        raise UpstreamError(f"{url}: {error}", code="upstream_invalid") from error
    if not isinstance(document, dict):
        raise UpstreamError(f"{url}: not a JSON object", code="upstream_invalid")
    return document


def _jwks_uri(url: str, metadata: dict[str, object], issuer: str) -> str:
    if metadata.get("issuer") != issuer:
        message = f"{url}: the metadata is for another issuer than {issuer}"
        raise UpstreamError(message, code="upstream_invalid")
    jwks_uri = metadata.get("jwks_uri")
    if not isinstance(jwks_uri, str):
        raise UpstreamError(f"{url}: names no jwks_uri", code="upstream_invalid")
    try:
        target = require_safe(jwks_uri)
    except ConfigError as error:
        raise UpstreamError(f"{url}: jwks_uri: {error.message}", code="upstream_invalid") from None
    if not _may_point_to(urlsplit(issuer), target):
        message = f"{url}: a jwks_uri on this machine or without TLS, from an issuer that is not"
        raise UpstreamError(message, code="upstream_invalid")
    return jwks_uri


def _may_point_to(issuer: SplitResult, target: SplitResult) -> bool:
    """Keep an issuer elsewhere from steering the guard to this machine or away from TLS."""
    return is_loopback(issuer) or (target.scheme == "https" and not is_loopback(target))

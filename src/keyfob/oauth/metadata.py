# SPDX-License-Identifier: Apache-2.0
"""What an issuer says of itself: authorization server metadata (RFC 8414, OIDC Discovery 1.0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from keyfob.errors import ConfigError, UpstreamError
from keyfob.loopback import is_loopback
from keyfob.oauth.urls import require_safe
from keyfob.tokens.json_strict import JsonError, loads

__all__ = ["Metadata", "json_object", "metadata_urls", "read_metadata"]

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

    def address(self, name: str, *, mutual_tls: bool = False) -> str:
        """Return the address under a name, such as ``jwks_uri``; it may be fetched.

        Only what is used is checked: an endpoint that is of no use here spoils no other.

        Args:
            name: The member's name.
            mutual_tls: Whether the client shows a certificate: it goes to the endpoint that asks
                for one, where there are two (RFC 8705 section 5).

        Raises:
            UpstreamError: There is none, or the issuer may not point there.
        """
        address = self._members.get(name)
        if mutual_tls:
            aliases = self._members.get("mtls_endpoint_aliases")
            address = aliases.get(name, address) if isinstance(aliases, dict) else address
        if not isinstance(address, str):
            raise self._wrong(f"names no {name}")
        try:
            target = require_safe(address)
        except ConfigError as error:
            raise self._wrong(f"{name}: {error.message}") from None
        if not _may_point_to(urlsplit(self.issuer), target):
            raise self._wrong(f"a {name} on this machine or without TLS, from an issuer elsewhere")
        return address

    def listed(self, name: str) -> tuple[str, ...] | None:
        """Return what is listed under a name, such as ``grant_types_supported``.

        Returns:
            The texts in it; None where there is no such list.
        """
        value = self._members.get(name)
        if not isinstance(value, list):
            return None
        return tuple(entry for entry in value if isinstance(entry, str))

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


def read_metadata(issuer: str, url: str, body: bytes) -> Metadata | None:
    """Read a document of metadata.

    Args:
        issuer: The issuer identifier, exactly as its tokens carry it.
        url: Where the document was found.
        body: The document.

    Returns:
        The metadata, or None where they are another issuer's, which must not be used (RFC 8414
        section 3.3).

    Raises:
        UpstreamError: It is no JSON object.
    """
    document = json_object(url, body)
    if document.get("issuer") != issuer:
        return None
    return Metadata(issuer=issuer, url=url, _members=document)


def json_object(url: str, body: bytes) -> dict[str, object]:
    """Read a JSON object.

    Raises:
        UpstreamError: It is none; the message quotes nothing of it.
    """
    try:
        document = loads(body)
    except JsonError as error:
        raise UpstreamError(f"{url}: {error}", code="upstream_invalid") from error
    if not isinstance(document, dict):
        raise UpstreamError(f"{url}: not a JSON object", code="upstream_invalid")
    return document


def _may_point_to(issuer: SplitResult, target: SplitResult) -> bool:
    """Keep an issuer elsewhere from steering its client to this machine or away from TLS."""
    if is_loopback(issuer.hostname or ""):
        return True
    return target.scheme == "https" and not is_loopback(target.hostname or "")

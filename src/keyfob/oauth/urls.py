# SPDX-License-Identifier: Apache-2.0
"""Which URLs a client of an authorization server may call (RFC 8414 section 2, RFC 6749 3.2)."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from keyfob.errors import ConfigError

__all__ = ["is_loopback", "require_safe"]


def require_safe(url: str) -> SplitResult:
    """Check that a URL may be fetched: https, or http on the loopback address (RFC 8414 section 2).

    Raises:
        ConfigError: Another scheme, credentials in the URL, a fragment, or no host.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("not a URL; write https://HOST[:PORT]/PATH") from None
    if not host or "@" in parts.netloc or parts.fragment:
        raise ConfigError("a URL here has a host, no credentials and no fragment")
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts)):
        return parts
    raise ConfigError(f"{url}: must be https (plain http only to this machine)")


def is_loopback(parts: SplitResult) -> bool:
    """Tell whether a URL's host is this machine."""
    host = parts.hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

# SPDX-License-Identifier: Apache-2.0
"""Which URLs a client of an authorization server may call (RFC 8414 section 2, RFC 6749 3.2)."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from keyfob.errors import ConfigError
from keyfob.loopback import is_loopback

__all__ = ["require_safe"]


def require_safe(url: str) -> SplitResult:
    """Check that a URL may be fetched: https, or http on the loopback address (RFC 8414 section 2).

    Raises:
        ConfigError: Another scheme, credentials in the URL, a fragment, no host, or characters
            that would turn up in a log as something else.
    """
    if not url.isprintable() or " " in url:  # urlsplit drops some of these without a word
        raise ConfigError("not a URL; it has blanks or control characters")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("not a URL; write https://HOST[:PORT]/PATH") from None
    if not host or "@" in parts.netloc or parts.fragment:
        raise ConfigError("a URL here has a host, no credentials and no fragment")
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)):
        return parts
    raise ConfigError(f"{url}: must be https (plain http only to this machine)")

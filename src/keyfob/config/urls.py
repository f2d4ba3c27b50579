# SPDX-License-Identifier: Apache-2.0
"""Which URLs a configuration may name: https, or http on this machine (RFC 8414 section 2)."""

from __future__ import annotations

from urllib.parse import urlsplit

from keyfob.loopback import is_loopback

__all__ = ["url_fault"]


def url_fault(url: str) -> str | None:
    """Say what is wrong with a URL that the guard fetches, or that its issuer is known by.

    The answer never repeats the URL: somebody may have written a password into it.

    Returns:
        The fault with what to write, or None.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "is no URL; write https://HOST[:PORT]/PATH"
    if not host or not url.isprintable() or " " in url:
        return "is no URL; write https://HOST[:PORT]/PATH"
    if "@" in parts.netloc:
        return "holds credentials; write https://HOST[:PORT]/PATH without them"
    if parts.fragment:
        return "has a fragment; write it without the # and what follows"
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)):
        return None
    return "is not https; write https://… (plain http only to this machine, such as 127.0.0.1)"

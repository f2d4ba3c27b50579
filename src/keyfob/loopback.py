# SPDX-License-Identifier: Apache-2.0
"""Which hosts are this machine: what is said to them never leaves it, so it needs no TLS.

RFC 8252 section 7.3 and RFC 8414 section 2 make the same exception, and whoever checks a URL here
has to make it alike.
"""

from __future__ import annotations

import ipaddress

__all__ = ["is_loopback"]


def is_loopback(host: str) -> bool:
    """Tell whether a URL's host is this machine.

    Args:
        host: A name or an address, without brackets, in lower case, as ``urlsplit`` gives it.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

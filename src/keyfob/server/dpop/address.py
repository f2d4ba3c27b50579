# SPDX-License-Identifier: Apache-2.0
"""When the URL in a proof is the one of this endpoint (RFC 9449 section 4.3, step 9).

Query and fragment are left out. Then what RFC 3986 sections 6.2.2 and 6.2.3 call the same is made
the same: the case of scheme and host, the port that goes without saying, percent-encoded letters.
Dots within a path are not walked: no endpoint of ours has any, so such a URL is another one.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["MAX_URL_CHARS", "normalised"]

# What servers of the field take at most in a request line.
MAX_URL_CHARS: Final = 2_048
# Without brackets, backslashes, spaces and whatever else parsers of URLs disagree about; those of
# an IPv6 address are let in where they belong.
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9._~-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{0,5}))?"
    r"(?P<path>/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?",
    re.ASCII,
)
_PERCENT: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]", re.ASCII)
_PORTS: Final = {"https": "443", "http": "80"}


def normalised(url: str) -> str | None:
    """Return the one spelling of an http(s) URL, without query and fragment.

    Returns:
        None for what is no such URL.
    """
    # The Kelvin sign is a letter k in lower case, and to nobody else the same.
    if not 0 < len(url) <= MAX_URL_CHARS or not url.isascii():
        return None
    head, at, rest = re.split(r"[?#]", url, maxsplit=1)[0].partition("://")
    authority, slash, path = rest.partition("/")
    match = _URL.fullmatch(head.lower() + at + authority.lower() + slash + path)
    if match is None:
        return None
    scheme, port = match["scheme"], match["port"] and str(int(match["port"]))
    suffix = f":{port}" if port and port != _PORTS[scheme] else ""
    return f"{scheme}://{match['host']}{suffix}{_PERCENT.sub(_decoded, match['path'] or '/')}"


def _decoded(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if _UNRESERVED.fullmatch(character) else match[0].upper()

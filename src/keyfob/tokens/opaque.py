# SPDX-License-Identifier: Apache-2.0
"""Whose an opaque token is: a text that only its issuer can read (RFC 6749 section 1.4).

Nothing in such a token names an issuer, so a configured prefix does. Whatever has the shape of a
JOSE object is never opaque: its own ``iss`` says whose it is, and a token of one issuer must not
be shown to another.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Final

from keyfob.tokens.issuers import TrustedIssuer

__all__ = ["MAX_OPAQUE_BYTES", "MIN_OPAQUE_BYTES", "looks_opaque", "opaque_issuer"]

# A guess must succeed at most once in 2**128 (RFC 6749 section 10.10), which takes 22 characters
# of base64; what is much shorter is a password, and nobody else's business.
MIN_OPAQUE_BYTES: Final = 20
# The longest that issuers of the field document have 2,048 bytes.
MAX_OPAQUE_BYTES: Final = 4_096

# JWE has five (RFC 7516 section 3.1); what a text has behind them costs nothing.
_MAX_PARTS: Final = 8

# RFC 6750 section 2.1: b64token.
_B64TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/-]++=*+")


def opaque_issuer(token: bytes, prefixes: Mapping[bytes, TrustedIssuer]) -> TrustedIssuer | None:
    """Find the issuer to ask about an opaque token.

    Args:
        token: As presented.
        prefixes: Issuers by the prefix of their opaque tokens; the longest that fits counts, and
            an empty one fits every token.

    Returns:
        The issuer; None: nobody is asked about this one, it is a JWT or no token at all.
    """
    if not looks_opaque(token):
        return None
    fitting = [prefix for prefix in prefixes if token.startswith(prefix)]
    return prefixes[max(fitting, key=len)] if fitting else None


def looks_opaque(token: bytes) -> bool:
    """Tell whether a text has the form of an opaque token, whosever it is."""
    fits = MIN_OPAQUE_BYTES <= len(token) <= MAX_OPAQUE_BYTES
    return fits and _B64TOKEN.fullmatch(token) is not None and not _is_jose(token)


def _is_jose(token: bytes) -> bool:
    """Tell whether any part between dots might be read as a header or as claims (RFC 7515).

    Any part, however lenient the parser: where one of a JWT is damaged another gives it away.
    """
    return b"." in token and any(map(_is_object, token.split(b".", _MAX_PARTS)))


def _is_object(part: bytes) -> bool:
    try:
        return isinstance(json.loads(base64.urlsafe_b64decode(part + b"==")), dict)
    except ValueError:
        return False
    except RecursionError:
        return True

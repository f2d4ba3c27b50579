# SPDX-License-Identifier: Apache-2.0
"""The key that a client asks its token to be bound to: ``req_cnf`` (RFC 9201 section 3.1).

In a form it is a JSON object with one member (RFC 7800 section 3): ``jwk``, a public key, or
``kid``, the name of a key that the client has registered. A symmetric key is refused, as RFC 9201
section 3.1 recommends: whoever has to share one gets it from the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from keyfob.server.oauth_errors import OAuthError, invalid_request
from keyfob.tokens import json_strict
from keyfob.tokens.keys import KeySet

__all__ = ["MAX_REQ_CNF_CHARS", "confirmation_key", "read_req_cnf", "unsupported_key"]

# The longest RSA key that is taken has some 1,400 characters.
MAX_REQ_CNF_CHARS: Final = 4_096
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
# What makes a key of each type. Whatever else somebody writes into it is not checked, and stays out
# of tokens.
_KEPT: Final = {"EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "RSA": ("n", "e")}


def read_req_cnf(text: str) -> Mapping[str, Any]:
    """Return the one member of a ``req_cnf``; what is in it is not checked.

    Raises:
        OAuthError: ``invalid_request``.
    """
    if len(text) > MAX_REQ_CNF_CHARS:
        raise _malformed()
    try:
        parsed = json_strict.loads(text.encode())
    except (json_strict.JsonError, UnicodeEncodeError):
        raise _malformed() from None
    if not isinstance(parsed, dict) or len(parsed) != 1:
        raise _malformed()
    if not isinstance(parsed.get("jwk"), dict) and not isinstance(parsed.get("kid"), str):
        raise _malformed()
    return parsed


def confirmation_key(jwk: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a public key as ``cnf`` of a token holds it (RFC 7800 section 3.2).

    Args:
        jwk: What somebody else has written.

    Raises:
        OAuthError: ``unsupported_pop_key``: symmetric, weak, or of no kind that is verified with;
            ``invalid_request``: it comes with its private half.
    """
    if jwk.get("kty") == "oct" or "k" in jwk:
        raise unsupported_key("pop_key_symmetric")
    if not _PRIVATE.isdisjoint(jwk):
        raise invalid_request(
            "req_cnf holds a private key: make a new one, and keep it", reason="pop_key_private"
        )
    if not KeySet.from_jwks({"keys": [jwk]}).keys:
        raise unsupported_key("pop_key_refused")
    return {name: jwk[name] for name in ("kty", *_KEPT[jwk["kty"]], "alg") if name in jwk}


def unsupported_key(reason: str) -> OAuthError:
    """Return the error for a key that no token is bound to (RFC 9200 section 5.8.3)."""
    return OAuthError(
        "unsupported_pop_key", "no token can be bound to this key here", reason=reason
    )


def _malformed() -> OAuthError:
    return invalid_request(
        'req_cnf is a JSON object, {"jwk": {...}} or {"kid": "..."}', reason="req_cnf_malformed"
    )

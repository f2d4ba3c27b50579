# SPDX-License-Identifier: Apache-2.0
"""Tokens that this server itself is asked with, and its challenges (RFC 6750)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from keyfob.server.oauth_errors import OAuthError, error_response

__all__ = ["bearer_error", "bearer_headers", "bearer_token"]

# Of ours none is longer (``tokens.jws.MAX_TOKEN_BYTES``).
_MAX_CHARS = 16_384


def bearer_token(request: Request) -> str:
    """Return the token of a request, from its header and no other place (section 2.1).

    Raises:
        OAuthError: ``invalid_token``: there is none, or more than one.
    """
    headers = request.headers.getlist("authorization")
    if not headers:
        raise _refused("token_missing")
    scheme, _, token = headers[0].partition(" ")
    token = token.strip()
    if len(headers) > 1 or scheme.lower() != "bearer" or not 0 < len(token) <= _MAX_CHARS:
        raise _refused("authorization_malformed")
    return token


def bearer_headers(error: OAuthError, *, scope: str = "") -> dict[str, str]:
    """Return what the answer to a refusal carries: its challenge (section 3), or when to ask again.

    Args:
        error: Why.
        scope: What is needed, where that is what is missing.
    """
    if error.status == 401:
        # Without a token there is no error to tell (section 3.1).
        told = "" if error.reason == "token_missing" else ', error="invalid_token"'
        return {"WWW-Authenticate": f'Bearer realm="keyfob"{told}'}
    if error.status == 403:
        challenge = f'Bearer realm="keyfob", error="insufficient_scope", scope="{scope}"'
        return {"WWW-Authenticate": challenge}
    if error.status in (429, 503):
        return {"Retry-After": str(error.retry_after or 1)}
    return {}


def bearer_error(error: OAuthError) -> Response:
    """Return the answer to a refusal, in the form of RFC 6749 section 5.2."""
    answer = error_response(error)
    answer.headers.update(bearer_headers(error))
    return answer


def _refused(reason: str) -> OAuthError:
    return OAuthError("invalid_token", "the token is not good here", reason=reason)

# SPDX-License-Identifier: Apache-2.0
"""The errors that the endpoints answer with (RFC 6749 section 5.2)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from keyfob.http.json_response import NO_STORE, json_response

__all__ = [
    "STATUS",
    "OAuthError",
    "error_response",
    "invalid_client",
    "invalid_request",
    "not_here",
    "server_error",
    "store_unavailable",
    "token_of_another",
    "unavailable",
]

STATUS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "invalid_request": 400,
        "invalid_client": 401,
        "invalid_grant": 400,
        "unauthorized_client": 400,
        "unsupported_grant_type": 400,
        "invalid_scope": 400,
        "authorization_pending": 400,  # RFC 8628 section 3.5, as the next three
        "slow_down": 400,
        "access_denied": 400,
        "expired_token": 400,
        "invalid_target": 400,  # RFC 8707 section 2
        "invalid_authorization_details": 400,  # RFC 9396 section 5
        "unsupported_token_type": 400,  # RFC 7009 section 2.2.1
        "invalid_dpop_proof": 400,  # RFC 9449 section 5
        "use_dpop_nonce": 400,  # RFC 9449 section 8
        "unsupported_pop_key": 400,  # RFC 9200 section 5.8.3
        "invalid_token": 401,  # RFC 6750 section 3.1
        "insufficient_scope": 403,  # the same
        "invalid_client_metadata": 400,  # RFC 7591 section 3.2.2
        "invalid_software_statement": 400,  # the same
        "server_error": 500,  # RFC 6749 section 4.1.2.1 names these two, for redirects
        "temporarily_unavailable": 503,
    }
)
# RFC 9110 section 15.5.2 wants a challenge in every 401, RFC 6749 section 5.2 at least in those
# that answer an Authorization header. The charset is what RFC 7617 section 2.1 offers.
_CHALLENGE: Final = MappingProxyType({"WWW-Authenticate": 'Basic realm="keyfob", charset="UTF-8"'})
_RETRY: Final = MappingProxyType({"Retry-After": "1"})
_HEADERS: Final = MappingProxyType({401: _CHALLENGE, 503: _RETRY})


class OAuthError(Exception):
    """A request that is refused.

    Args:
        error: The code for the client, one of ``STATUS``.
        description: A constant sentence for the client's developer. It never repeats input and
            never says which part of a credential was wrong.
        reason: What really happened, for the operator's audit only.
        status: Another HTTP status than the code's usual one.
        subject: The device that it is about, where only the server knows; for the audit.
        retry_after: Seconds after which it makes sense to try again, where that is known.
        told: Whether the audit is told of it.
        headers: What the answer has beside the usual.
    """

    def __init__(
        self,
        error: str,
        description: str,
        *,
        reason: str,
        status: int = 0,
        subject: str = "",
        retry_after: int = 0,
        told: bool = True,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(f"{error}: {reason}")
        self.error = error
        self.description = description
        self.reason = reason
        self.status = status or STATUS[error]
        self.subject = subject
        self.retry_after = retry_after
        self.told = told
        self.headers = headers


def invalid_request(description: str, *, reason: str, status: int = 0) -> OAuthError:
    """Return the error for a request that is not well formed."""
    return OAuthError("invalid_request", description, reason=reason, status=status)


def token_of_another() -> OAuthError:
    """Return the error for a token that the client may not end (RFC 7009 section 2.1)."""
    return OAuthError(
        "unauthorized_client", "the token was issued to another client", reason="token_of_another"
    )


def unavailable() -> OAuthError:
    """Return the error for a request that the register could not answer; it is nobody's fault."""
    return OAuthError("temporarily_unavailable", "try again later", reason="store_unavailable")


def invalid_client(reason: str) -> OAuthError:
    """Return the one answer for every way in which client authentication fails."""
    return OAuthError("invalid_client", "client authentication failed", reason=reason)


def error_response(error: OAuthError) -> Response:
    """Tell the client, as RFC 6749 section 5.2 says."""
    headers = {**NO_STORE, **_HEADERS.get(error.status, {}), **error.headers}
    if error.retry_after:  # RFC 6585 section 4, RFC 9110 section 10.2.3
        headers["Retry-After"] = str(error.retry_after)
    return json_response(
        {"error": error.error, "error_description": error.description},
        status=error.status,
        headers=headers,
    )


async def not_here(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Answer for a path or a method that there is not; Allow says which methods there are."""
    if not isinstance(error, HTTPException):
        raise error
    answer = error_response(
        invalid_request(
            "no such path, or not with this method", reason="no_route", status=error.status_code
        )
    )
    answer.headers.update(error.headers or {})
    return answer


async def server_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Answer in the endpoints' own form; Starlette raises the error again, for the log."""
    return error_response(OAuthError("server_error", "the server failed", reason="exception"))


async def store_unavailable(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Answer where the register does not: it is worth trying again."""
    return error_response(unavailable())

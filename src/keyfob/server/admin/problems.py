# SPDX-License-Identifier: Apache-2.0
"""How the admin API says no: problem details (RFC 9457), each with a code from a closed set."""

from __future__ import annotations

import http
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from keyfob.errors import ConflictError, KeyfobError, NotFoundError, UpstreamError
from keyfob.http.json_response import NO_STORE
from keyfob.server.bearer import bearer_headers
from keyfob.server.oauth_errors import OAuthError

__all__ = [
    "PROBLEM_TYPE",
    "Problem",
    "ProblemError",
    "no_route",
    "of_oauth",
    "of_register",
    "problem_response",
    "server_failed",
]

PROBLEM_TYPE: Final = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused (RFC 9457 section 3.1); ``code`` is for programs."""

    title: str
    status: int
    detail: str
    code: str


class ProblemError(Exception):
    """A request that is refused.

    Args:
        status: The HTTP status.
        code: One of ``ERROR_CODES``, an OAuth error, or a name of what is wrong with the request.
        detail: For the operator's developer; never a secret, and of the register only what the
            caller may read.
        headers: What the answer carries beside the usual.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or {}


def problem_response(error: ProblemError) -> Response:
    """Return the answer."""
    problem = Problem(
        title=http.HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.detail,
        code=error.code,
    )
    return Response(
        msgspec.json.encode(problem),
        status_code=error.status,
        media_type=PROBLEM_TYPE,
        headers={**NO_STORE, **error.headers},
    )


# The first that fits; any other error of ours means that what was asked for cannot be.
_OF_REGISTER: Final = ((NotFoundError, 404), (ConflictError, 409), (UpstreamError, 503))
_RETRY: Final = MappingProxyType({"Retry-After": "1"})


def of_register(error: KeyfobError) -> ProblemError:
    """Return the problem that an error of the register is."""
    status = next((status for kind, status in _OF_REGISTER if isinstance(error, kind)), 422)
    if status == 503:  # whose message names files of the server
        return ProblemError(503, error.code, "the register cannot be used now", headers=_RETRY)
    # What follows a semicolon tells how to go on at the command line.
    return ProblemError(status, error.code, error.message.partition("; `keyfob")[0])


def of_oauth(error: OAuthError, *, scope: str = "") -> ProblemError:
    """Return the problem that a refused token is, with its challenge (RFC 6750 section 3).

    Args:
        error: Why.
        scope: What the operation needs.
    """
    headers = bearer_headers(error, scope=scope)
    return ProblemError(error.status, error.error, error.description, headers=headers)


async def no_route(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Answer for a path or a method that there is not."""
    if not isinstance(error, HTTPException):
        raise error
    code = "method_not_allowed" if error.status_code == 405 else "not_found"
    detail = "not with this method" if error.status_code == 405 else "there is no such path"
    problem = ProblemError(error.status_code, code, detail, headers=error.headers)
    return problem_response(problem)


async def server_failed(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Answer in the API's own form; Starlette raises the error again, for the log."""
    return problem_response(ProblemError(500, "server_error", "the server failed"))

# SPDX-License-Identifier: Apache-2.0
"""The way of nearly every request: to the token endpoint, past the table of routes.

What it leaves out does nothing for an endpoint that has one path, one method and errors of its own,
and was a tenth of what a token cost (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from keyfob.errors import UpstreamError
from keyfob.server.oauth_errors import store_unavailable

__all__ = ["Direct"]


class Direct:
    """Middleware that answers the POSTs of one path itself.

    Args:
        app: Answers everything else, other methods of the path among it.
        path: The path.
        endpoint: Answers.
    """

    def __init__(
        self, app: ASGIApp, *, path: str, endpoint: Callable[[Request], Awaitable[Response]]
    ) -> None:
        self._app = app
        self._path = path
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] != self._path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            answer = await self._endpoint(request)
        except UpstreamError as error:
            answer = await store_unavailable(request, error)
        await answer(scope, receive, send)

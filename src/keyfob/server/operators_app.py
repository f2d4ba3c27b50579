# SPDX-License-Identifier: Apache-2.0
"""What operators ask, on a listener of its own: numbers are nobody else's matter.

path       methods       answers
/healthz   GET, HEAD     the process lives
/readyz    GET, HEAD     tokens can be issued, or why not
/metrics   GET, HEAD     Prometheus' text format
"""

from __future__ import annotations

from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keyfob.http.json_response import NO_STORE
from keyfob.server.endpoints.health import HealthEndpoints
from keyfob.server.metrics import ServerMetrics
from keyfob.server.oauth_errors import not_here, server_error

__all__ = ["operators_app"]

_TEXT_FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"


def operators_app(health: HealthEndpoints, metrics: ServerMetrics) -> Starlette:
    """Make the application."""

    async def numbers(_: Request) -> Response:
        text = await metrics.text()
        return Response(text, headers={**NO_STORE, "Content-Type": _TEXT_FORMAT})

    app = Starlette(
        routes=[
            Route("/healthz", health.healthz),
            Route("/readyz", health.readyz),
            Route("/metrics", numbers),
        ],
        exception_handlers={HTTPException: not_here, Exception: server_error},
    )
    app.router.redirect_slashes = False
    return app

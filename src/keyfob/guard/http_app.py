# SPDX-License-Identifier: Apache-2.0
"""The guard's HTTP: is it well, what does it count, and where do issuers push events.

    path       methods       answers
    /healthz   GET, HEAD     the process lives
    /readyz    GET, HEAD     its decisions are sound, or why not
    /metrics   GET, HEAD     Prometheus' text format
    /events    POST          takes a security event token, where an issuer may send them

Nothing here is stored by caches, and nothing here tells of a client or a token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from keyfob.guard.events import EventReceiver
from keyfob.guard.health import GuardHealth
from keyfob.guard.http_events import EventsEndpoint
from keyfob.guard.http_health import HealthEndpoints
from keyfob.guard.metrics import GuardMetrics
from keyfob.http.json_response import NO_STORE, json_response

__all__ = ["guard_app"]

_TEXT_FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"


async def _at_hand() -> None:
    """Ask nobody."""


def guard_app(
    health: Callable[[], GuardHealth],
    *,
    metrics: GuardMetrics | None = None,
    events: EventReceiver | None = None,
    refresh: Callable[[], Awaitable[None]] = _at_hand,
) -> Starlette:
    """Make the application.

    Args:
        health: Tells the guard's state.
        metrics: Its metrics; None: there is no such path.
        events: Takes security events in; None: there is no such path.
        refresh: Called before the state or the metrics are told, where they have to be asked for.
    """
    answers = HealthEndpoints(health, refresh)
    routes = [
        Route("/healthz", answers.healthz),
        Route("/readyz", answers.readyz),
    ]
    if metrics is not None:
        routes.append(Route("/metrics", _metrics(metrics, refresh)))
    if events is not None:
        routes.append(Route("/events", EventsEndpoint(events).post, methods=["POST"]))
    app = Starlette(
        routes=routes, exception_handlers={HTTPException: _not_here, Exception: _failed}
    )
    app.router.redirect_slashes = False
    return app


def _metrics(
    metrics: GuardMetrics, refresh: Callable[[], Awaitable[None]]
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        await refresh()
        return Response(metrics.text(), headers={**NO_STORE, "Content-Type": _TEXT_FORMAT})

    return answer


async def _not_here(_: Request, error: Exception) -> Response:
    """Answer for a path or a method that there is not; Allow says which methods there are."""
    if not isinstance(error, HTTPException):
        raise error
    headers = {**NO_STORE, **(error.headers or {})}
    document = {"err": "invalid_request", "description": "no such path, or not with this method"}
    return json_response(document, headers=headers, status=error.status_code)


async def _failed(_: Request, error: Exception) -> Response:  # noqa: ARG001
    """Answer when we fail; Starlette raises the error again, for the log."""
    document = {"err": "server_error", "description": "the guard failed"}
    return json_response(document, headers=NO_STORE, status=500)

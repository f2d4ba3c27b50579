# SPDX-License-Identifier: Apache-2.0
"""A small application that really listens, in a thread of its own."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from keyfob.http.body import BodyError, read_body
from keyfob.http.listen import Listen, bind
from keyfob.http.server import HttpServer

__all__ = ["MAX_BODY", "PATIENCE", "application", "running"]

PATIENCE = 30.0
MAX_BODY = 40_000


async def _healthy(_: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


async def _names(request: Request) -> PlainTextResponse:
    return PlainTextResponse(" ".join(request.headers))


async def _length(request: Request) -> PlainTextResponse:
    try:
        body = await read_body(request, limit=MAX_BODY, seconds=0.5)
    except BodyError as error:
        return PlainTextResponse(error.reason, error.status)
    return PlainTextResponse(str(len(body)))


async def _page(_: Request) -> PlainTextResponse:
    return PlainTextResponse("", headers={"Content-Security-Policy": "default-src 'self'"})


def application() -> Starlette:
    routes = [
        Route("/healthz", _healthy),
        Route("/names", _names, methods=["POST"]),
        Route("/length", _length, methods=["POST"]),
        Route("/page", _page),
    ]
    return Starlette(routes=routes)


@contextlib.contextmanager
def running(listen: Listen) -> Iterator[HttpServer]:
    ready = threading.Event()
    made = HttpServer(application(), listen, bind(listen), on_ready=ready.set)
    thread = threading.Thread(target=made.run)
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield made
    finally:
        made.should_exit = True
        thread.join(PATIENCE)
    assert not thread.is_alive()

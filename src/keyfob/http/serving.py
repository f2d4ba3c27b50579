# SPDX-License-Identifier: Apache-2.0
"""Serves HTTP within a process that has more to do: in its event loop, its signals untouched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import ASGIApp

from keyfob.http.listen import Listen, bind
from keyfob.http.server import HttpServer
from keyfob.http.tls import check_tls

__all__ = ["serving"]


@asynccontextmanager
async def serving(app: ASGIApp, listen: Listen) -> AsyncIterator[HttpServer]:
    """Answer requests for as long as the context lasts; what is being answered is finished.

    Args:
        app: What answers.
        listen: Where.

    Raises:
        ConfigError: The certificate or the address cannot be used.
    """
    check_tls(listen)
    ready = asyncio.Event()
    server = HttpServer(app, listen, bind(listen), on_ready=ready.set, signals=False)
    running = asyncio.create_task(server.serve(), name="http")
    waiting = asyncio.create_task(ready.wait(), name="http ready")
    try:
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            yield server
    finally:
        waiting.cancel()
        server.should_exit = True
        await running

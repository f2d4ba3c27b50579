# SPDX-License-Identifier: Apache-2.0
"""What goes on beside the requests, from the first of them to the last, and is closed then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from keyfob.server.events.deliveries import Deliveries
from keyfob.server.openid.provider import OpenIdIssuer
from keyfob.server.parts import Parts
from keyfob.server.passwords import PasswordChecker

__all__ = ["lifespan"]


@contextlib.asynccontextmanager
async def lifespan(
    parts: Parts, deliveries: Deliveries, checker: PasswordChecker, openid: OpenIdIssuer | None
) -> AsyncIterator[None]:
    """Run what has to go on, and close everything at the end, whatever fails."""
    opened = parts.opened
    runs = (opened.last_tokens.run(), parts.keyring.run(), deliveries.run())
    tasks = [asyncio.create_task(run) for run in runs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        async with contextlib.AsyncExitStack() as closing:
            closing.callback(opened.store.close)
            closing.callback(opened.reading.close)
            closing.callback(checker.close)
            if openid is not None:
                closing.push_async_callback(openid.aclose)
            closing.push_async_callback(opened.last_tokens.close)
            closing.push_async_callback(opened.thread.close)
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task

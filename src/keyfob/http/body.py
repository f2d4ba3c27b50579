# SPDX-License-Identifier: Apache-2.0
"""A request's body, bounded in size and time."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.types import Receive

__all__ = ["BODY_SECONDS", "BodyError", "read_body"]

# uvicorn has no deadline of its own for a body; a client that trickles one must not sit here.
BODY_SECONDS: Final = 10.0


class BodyError(Exception):
    """A body that was not read to its end.

    Args:
        message: What happened, for the client.
        reason: The same in a word, for the audit.
        status: The HTTP status to answer with.
    """

    def __init__(self, message: str, *, reason: str, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.status = status


async def read_body(request: Request, *, limit: int, seconds: float = BODY_SECONDS) -> bytes:
    """Return a request's body.

    Args:
        request: The request, whose body was not read yet.
        limit: The most bytes.
        seconds: How long the client may take to send it.

    Raises:
        BodyError: Too large, too slow, or cut short.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _whole(request.receive, limit)
    except TimeoutError:
        raise BodyError("the request took too long", reason="body_slow", status=408) from None


async def _whole(receive: Receive, limit: int) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BodyError("the request was cut short", reason="body_cut", status=400)
        body += message.get("body", b"")
        if len(body) > limit:
            raise BodyError("the request is too large", reason="body_too_large", status=413)
        more = message.get("more_body", False)
    return bytes(body)

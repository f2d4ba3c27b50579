# SPDX-License-Identifier: Apache-2.0
"""The headers that every answer carries, whoever wrote it, and the answers nobody else writes.

An endpoint that needs another value of one of them (a page has its own Content-Security-Policy)
sets it; what it sets stays.
"""

from __future__ import annotations

import asyncio
import http
from typing import Final

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ALWAYS", "STRICT_TRANSPORT", "AnswerHeaders", "Header", "refusal", "refusal_body"]

Header = tuple[bytes, bytes]

ALWAYS: Final[tuple[Header, ...]] = (
    # No browser takes a JSON document for a script or a page, whatever is in it.
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
# A year, for this host alone: what is below its name may be somebody else's (RFC 6797 section 6.1).
STRICT_TRANSPORT: Final[Header] = (b"strict-transport-security", b"max-age=31536000")

_JSON: Final[tuple[Header, ...]] = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
)
_CLOSE: Final[Header] = (b"connection", b"close")


def refusal_body(error: str, description: str) -> bytes:
    """Return a refusal in the form of RFC 6749 section 5.2."""
    return msgspec.json.encode({"error": error, "error_description": description})


def refusal(status: int, description: str, always: tuple[Header, ...]) -> bytes:
    """Write a whole answer to a request that never reached the application; it ends the connection.

    Args:
        status: The HTTP status.
        description: For the client's developer.
        always: What every answer carries.
    """
    body = refusal_body("invalid_request", description)
    length = (b"content-length", str(len(body)).encode("ascii"))
    lines = [b": ".join(header) for header in (*always, *_JSON, length, _CLOSE)]
    head = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}".encode("ascii")
    return b"\r\n".join([head, *lines, b"", body])


class AnswerHeaders:
    """Wraps an application: no answer leaves without the headers, and none is left out at the end.

    Args:
        app: What answers.
        always: The headers; one that an answer has already stays as it is.
    """

    def __init__(self, app: ASGIApp, always: tuple[Header, ...] = ALWAYS) -> None:
        self._app = app
        self._always = always

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def completed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = list(message.get("headers", ()))
                present = {name.lower() for name, _ in headers}
                headers += [header for header in self._always if header[0] not in present]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, completed)
        except asyncio.CancelledError:
            # The server ends and has waited long enough (see ``HttpServer``): a whole answer still.
            if started:
                raise
            await _stopped(completed)


async def _stopped(send: Send) -> None:
    body = refusal_body("temporarily_unavailable", "the server stops; try again")
    length = (b"content-length", str(len(body)).encode("ascii"))
    headers = [*_JSON, (b"retry-after", b"1"), length, _CLOSE]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})

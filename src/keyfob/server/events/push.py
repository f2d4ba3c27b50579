# SPDX-License-Identifier: Apache-2.0
"""One push to one receiver: a bounded HTTP exchange (RFC 8935 section 2).

Nothing that a receiver answers may stall or fill the server: the exchange has a deadline, of the
body only the beginning is read, redirects are not followed (the secret and the event are for this
address), and no cookie is kept. Errors name what failed and quote nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final
from urllib.parse import urlsplit

import httpx

from keyfob.loopback import is_loopback
from keyfob.server.events.answer import Answer, Verdict, judged

__all__ = ["DEADLINE", "MAX_ANSWER_BYTES", "Push"]

DEADLINE: Final = 10.0
"""Seconds for an exchange: a receiver may have to fetch our keys first."""

MAX_ANSWER_BYTES: Final = 4_096
"""What is read of an answer: a code and a sentence."""

# For so many seconds the end of an answer is waited for that says nothing more: a connection that
# is left in the middle of one has to be closed, and the next event pays for a new one.
_PASSING_OVER: Final = 0.5

# Usual servers close an idle connection after 5 seconds or more.
_KEEP_ALIVE: Final = 4.0


class Push:
    """Pushes to one address, over connections that it keeps.

    Args:
        url: Where to.
        credential: What is shown as ``Authorization: Bearer``; empty: nothing.
        ca: CA certificates in PEM that alone are trusted; None: the system's.
        connections: How many at once.
        deadline: Seconds for an exchange.
        clock: Unix seconds.
        transport: What carries the requests instead of the network (httpx).
    """

    def __init__(
        self,
        url: str,
        *,
        credential: str = "",
        ca: str | None = None,
        connections: int,
        deadline: float = DEADLINE,
        clock: Callable[[], float] = time.time,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {
            "Content-Type": "application/secevent+jwt",
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # a small answer could unfold into a huge one
        }
        if credential:
            headers["Authorization"] = f"Bearer {credential}"
        self._url = url
        self._deadline = deadline
        self._clock = clock
        self._client = httpx.AsyncClient(
            verify=ssl.create_default_context(cadata=ca),
            transport=transport,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers=headers,
            timeout=None,  # noqa: S113 - the whole exchange is bounded, not each read
            limits=httpx.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=_KEEP_ALIVE,
            ),
            # A proxy from the environment serves the world, not this machine's own ports.
            trust_env=not is_loopback(urlsplit(url).hostname or ""),
        )

    async def send(self, token: str) -> Answer:
        """Push a security event token, and say what became of it; never raises for the network."""
        answer: Answer | None = None
        try:
            async with (
                asyncio.timeout(self._deadline),
                self._client.stream("POST", self._url, content=token) as response,
            ):
                body = await _beginning(response) if response.status_code == 400 else b""
                answer = judged(
                    response.status_code,
                    body=body,
                    retry_after=response.headers.get("retry-after", ""),
                    now=self._clock(),
                )
                if response.status_code != 400:
                    await _pass_over(response)
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            # What the status said stands, whatever comes behind it.
            return answer or _failure(error)
        return answer

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _failure(error: Exception) -> Answer:
    """Say why there was no answer; not by the error's text, which may quote what we sent."""
    reason = "no_answer"
    if isinstance(error, TimeoutError):
        reason = "timeout"
    elif isinstance(error, httpx.ConnectError):
        reason = "unreachable"
    return Answer(verdict=Verdict.FAILED, reason=reason)


async def _beginning(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        return b""
    body = bytearray()
    async for chunk in response.aiter_bytes(1_024):
        body += chunk
        if len(body) >= MAX_ANSWER_BYTES:
            break
    return bytes(body[:MAX_ANSWER_BYTES])


async def _pass_over(response: httpx.Response) -> None:
    """Read an answer to its end, if that is near, so that its connection serves again."""
    if response.is_stream_consumed:
        return
    passed = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_PASSING_OVER):
            async for chunk in response.aiter_raw():
                passed += len(chunk)
                if passed >= MAX_ANSWER_BYTES:
                    break

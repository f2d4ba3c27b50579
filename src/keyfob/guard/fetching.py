# SPDX-License-Identifier: Apache-2.0
"""One bounded HTTP exchange: how the guard reads what an issuer publishes, and asks it.

Nothing that an issuer answers may stall or fill the guard: the whole exchange has a deadline, the
body a limit, redirects are not followed, and compressed bodies are not accepted (a small one can
unfold into a huge one). Only https is spoken, and plain http to this machine alone.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from keyfob.errors import ConfigError, UpstreamError
from keyfob.loopback import is_loopback
from keyfob.oauth.urls import require_safe

__all__ = ["DEADLINE", "MAX_BODY", "Answer", "Fetcher"]

MAX_BODY: Final = 1024 * 1024
"""The largest body read: a key set of 100 RSA keys has about 50 kB, a page of 1,000 revocations
about 200 kB."""

DEADLINE: Final = 5.0
"""Seconds for a whole exchange, however slowly the body drips."""

MAX_CONNECTIONS: Final = 16
"""Connections to one upstream: at 20 ms an answer they carry 800 questions a second."""

KEEP_ALIVE: Final = 4.0
"""Seconds that an idle connection is kept. Usual servers close theirs after 5 or more; a question
that meets a closing connection fails."""

# What the library says of a server that hung up, and only that, without quoting it.
_HUNG_UP: Final = ("Server disconnected", "peer closed connection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a successful exchange brought.

    Attributes:
        body: The body.
        max_age: For how many seconds it may be kept; None: the server does not say.
        media_type: What the server says it is, in lower case and without parameters.
    """

    body: bytes
    max_age: float | None
    media_type: str


class Fetcher:
    """Talks to one upstream, over connections that it keeps.

    Args:
        ca: A file of CA certificates that alone are trusted; None: the system's.
        transport: What carries the requests instead of the network (httpx).
    """

    def __init__(
        self,
        *,
        ca: Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._ca = ca
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; a later fetch opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def prepare(self, url: str) -> None:
        """Read the CA certificates, which takes some 50 ms, before anybody waits for an exchange.

        Raises:
            ConfigError: The CA file is unusable.
        """
        self._connected(url)

    async def get(
        self,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float = DEADLINE,
        limit: int = MAX_BODY,
    ) -> Answer:
        """Fetch one document.

        Args:
            url: Where it is.
            params: The query, if any.
            headers: More headers, if any.
            deadline: Seconds for the whole exchange.
            limit: The most bytes of body.

        Raises:
            UpstreamError: No answer, not a 200, or a body that is too long or compressed.
            ConfigError: The URL is neither https nor this machine, or the CA file is unusable.
        """
        return await self._exchange("GET", url, deadline, limit, params=params, headers=headers)

    async def post(
        self,
        url: str,
        form: Mapping[str, str],
        *,
        headers: Mapping[str, str] | None = None,
        deadline: float = DEADLINE,
        limit: int = MAX_BODY,
    ) -> Answer:
        """Post a form; no error repeats anything of it.

        Args:
            url: Where to.
            form: The parameters.
            headers: More headers, if any.
            deadline: Seconds for the whole exchange.
            limit: The most bytes of body.

        Raises:
            UpstreamError: No answer, not a 200, or a body that is too long or compressed.
            ConfigError: The URL is neither https nor this machine, or the CA file is unusable.
        """
        return await self._exchange("POST", url, deadline, limit, data=form, headers=headers)

    async def _exchange(
        self,
        method: str,
        url: str,
        deadline: float,
        limit: int,
        **request: Any,
    ) -> Answer:
        require_safe(url)
        client = self._connected(url)
        try:
            async with (
                asyncio.timeout(deadline),
                client.stream(method, url, **request) as response,
            ):
                return await _read(response, url, limit)
        except TimeoutError:
            raise UpstreamError(f"{url}: no complete answer in {deadline:g} s") from None
        except httpx.InvalidURL:
            raise UpstreamError(f"{url}: not a usable address", code="upstream_invalid") from None
        except httpx.HTTPError as error:
            # Not from the error: it may quote what a server sent, and a server may echo a secret.
            raise UpstreamError(f"{url}: {_why(error)}") from None

    def _connected(self, url: str) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                verify=_tls_context(self._ca),
                transport=self._transport,
                follow_redirects=False,
                # A server's cookies would fill the memory and are of no use here.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                timeout=None,  # noqa: S113 - the whole exchange is bounded, not each read
                limits=httpx.Limits(
                    max_connections=MAX_CONNECTIONS,
                    max_keepalive_connections=MAX_CONNECTIONS,
                    keepalive_expiry=KEEP_ALIVE,
                ),
                # A proxy from the environment serves the world, not this machine's own ports.
                trust_env=not is_loopback(urlsplit(url).hostname or ""),
            )
        return self._client


async def _read(response: httpx.Response, url: str, limit: int) -> Answer:
    if response.status_code != 200:
        away = " (redirects are not followed)" if response.is_redirect else ""
        later = response.status_code >= 500 or response.status_code == 429
        code = "upstream_unavailable" if later else "upstream_invalid"
        raise UpstreamError(f"{url}: answered {response.status_code}{away}", code=code)
    if response.headers.get("content-encoding", "identity") != "identity":
        raise UpstreamError(f"{url}: a compressed body unasked", code="upstream_invalid")
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > limit:
            raise UpstreamError(f"{url}: more than {limit} bytes", code="upstream_invalid")
    return Answer(
        body=bytes(body),
        max_age=_max_age(response.headers.get("cache-control", "")),
        media_type=response.headers.get("content-type", "").partition(";")[0].strip().lower(),
    )


def _max_age(cache_control: str) -> float | None:
    """Read how long a response stays fresh (RFC 9111 section 5.2.2); None: it does not say."""
    directives = [part.strip().lower() for part in cache_control.split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return 0.0
    for directive in directives:
        name, _, value = directive.partition("=")
        value = value.strip('"')
        if name == "max-age" and value.isascii() and value.isdigit():
            return float(value[:12])
    return None


def _tls_context(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use the CA file {ca}: {error}") from error


def _why(error: httpx.HTTPError) -> str:
    message = str(error) or type(error).__name__
    if isinstance(error, httpx.RemoteProtocolError) and not message.startswith(_HUNG_UP):
        return "speaks no HTTP"
    if isinstance(error, httpx.LocalProtocolError):  # quotes a header, which may hold a secret
        return "the request cannot be sent"
    return message

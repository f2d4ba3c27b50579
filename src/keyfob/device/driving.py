# SPDX-License-Identifier: Apache-2.0
"""HTTP for flows; nothing that a server does holds a device up.

A whole exchange has a deadline and its body a limit, redirects are not followed (a secret must not
follow them elsewhere), compressed bodies are refused, and only https is spoken, or plain http to
this machine.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx

from keyfob.device.flow import Answer, Exchange, Flow, Pause
from keyfob.device.watching import Watch, tell
from keyfob.errors import ConfigError, TokenUnavailableError
from keyfob.loopback import is_loopback
from keyfob.oauth.urls import require_safe

__all__ = ["DEADLINE", "MAX_BODY", "drive", "tls_context"]

T = TypeVar("T")

MAX_BODY: Final = 256 * 1024
"""The largest body read: a token may have 64 KiB in MQTT, metadata have some 4 kB."""

DEADLINE: Final = 10.0
"""Seconds for a whole exchange, however slowly the body drips."""


def tls_context(
    ca: str | os.PathLike[str] | ssl.SSLContext | None,
    certificate: str | os.PathLike[str] | None,
) -> ssl.SSLContext:
    """Say whom to trust, and with which certificate to appear.

    Args:
        ca: A file of CA certificates that alone are trusted, or a context that says all of it;
            None: the system's.
        certificate: A file with the client's certificate and its key, not encrypted; None: none.

    Raises:
        ConfigError: A file is unusable, or a context and a certificate are given.
    """
    if isinstance(ca, ssl.SSLContext):
        if certificate is not None:
            raise ConfigError("load the certificate into the context that is given as ca")
        return ca
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{ca}: no certificates to trust ({error.strerror})") from error
    if certificate is not None:
        try:
            # An empty password, for without one OpenSSL would ask whoever sits at the terminal.
            context.load_cert_chain(certificate, password="")
        except (OSError, ssl.SSLError) as error:
            said = f"{certificate}: no certificate with its key, unencrypted ({error.strerror})"
            raise ConfigError(said) from error
    return context


async def drive(flow: Flow[T], context: ssl.SSLContext, watch: Watch | None = None) -> T:
    """Run a flow.

    Args:
        flow: What to run; it is closed when this is cancelled.
        context: Whom to trust, and with which certificate to appear.
        watch: Is told of each exchange.

    Raises:
        KeyfobError: What the flow raises.
    """
    answer: Answer | None = None
    failure: TokenUnavailableError | None = None
    try:
        while True:
            step = flow.send(answer) if failure is None else flow.throw(failure)
            answer = failure = None
            try:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                else:
                    answer = await _watched(step, context, watch)
            except TokenUnavailableError as error:
                failure = error
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        flow.close()


async def _watched(exchange: Exchange, context: ssl.SSLContext, watch: Watch | None) -> Answer:
    if watch is None:
        return await _exchange(exchange, context)
    began = time.monotonic()
    try:
        answer = await _exchange(exchange, context)
    except TokenUnavailableError as error:
        tell(watch, exchange, error, began=began, seconds=time.monotonic() - began)
        raise
    tell(watch, exchange, answer, began=began, seconds=time.monotonic() - began)
    return answer


async def _exchange(exchange: Exchange, context: ssl.SSLContext) -> Answer:
    url = exchange.url
    method = "GET" if exchange.form is None else "POST"
    form = None if exchange.form is None else dict(exchange.form)
    require_safe(url)
    try:
        async with (
            asyncio.timeout(DEADLINE),
            _client(url, context) as client,
            client.stream(method, url, data=form, headers=dict(exchange.headers)) as response,
        ):
            return await _read(response, url)
    except TimeoutError:
        raise TokenUnavailableError(f"{url}: no complete answer in {DEADLINE:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
        # Not what it says: it may quote what a server sent, and a server may echo a secret.
        raise TokenUnavailableError(f"{url}: {_why(error)}") from None


def _client(url: str, context: ssl.SSLContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        verify=context,
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        timeout=None,  # noqa: S113 - the whole exchange is bounded, not each read
        # A proxy from the environment serves the world, not this machine's own ports.
        trust_env=not is_loopback(urlsplit(url).hostname or ""),
    )


async def _read(response: httpx.Response, url: str) -> Answer:
    body = bytearray()
    if response.headers.get("content-encoding", "identity") != "identity":
        raise _broken(url, "a compressed body unasked")
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY:
            raise _broken(url, f"more than {MAX_BODY} bytes")
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=response.status_code, headers=headers, body=bytes(body))


def _broken(url: str, fault: str) -> TokenUnavailableError:
    return TokenUnavailableError(f"{url}: {fault}", code="upstream_invalid")


def _why(error: Exception) -> str:
    cause: BaseException = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message})"
    if not isinstance(error, httpx.ConnectError):
        return f"no answer ({type(error).__name__})"
    if not isinstance(cause, OSError):
        return "no connection"
    # A resolver's numbers are below 0 and its own; of several addresses there may be none.
    number = cause.errno or 0
    said = os.strerror(number) if number > 0 else cause.strerror
    return f"no connection ({said})" if said else "no connection"

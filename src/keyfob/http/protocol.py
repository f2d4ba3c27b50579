# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 connections with bounds: how long a request's head may be, and how long it may take.

What is too long, or no HTTP, is answered in the form of all other answers, and the connection ends.
uvicorn bounds neither: one connection could send headers until the memory is gone, and a
connection that says nothing would be kept for ever. Bodies are bounded where they are read
(``body``), idle connections between two requests by uvicorn's keep-alive timeout.
"""

from __future__ import annotations

import asyncio
import resource
from types import MappingProxyType
from typing import Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from keyfob.http.answer_headers import ALWAYS, Header, refusal
from keyfob.http.client_certificate import (
    CLIENT_CERTIFICATE,
    ClientCertificate,
    certificate_of_connection,
)

__all__ = ["HEAD_SECONDS", "MAX_HEAD_BYTES", "BoundedHttpProtocol", "connection_limit"]

# nginx gives four buffers of 8 KiB to a head, Apache 8 KiB to a line.
MAX_HEAD_BYTES: Final = 32_768
# What one read may bring beyond the head's end: the body rides in it.
_MAX_READ: Final = 262_144
# A device behind a bad radio link needs seconds for a few hundred bytes, not more.
HEAD_SECONDS: Final = 10.0
# Databases, listeners, logs, handshakes, and what the libraries open now and then.
_RESERVED_DESCRIPTORS: Final = 128
# The hard limit may be a thousand million: a connection over TLS has buffers of its own, and
# this many of them stay below some gigabytes.
_MOST_CONNECTIONS: Final = 8_192
# RFC 9110 section 15.5.15 for a target, RFC 6585 section 5 for the fields of a head.
_TOLD: Final = MappingProxyType(
    {
        400: "this is no HTTP request",
        414: "the request target is too long",
        431: "the head of the request is too large",
    }
)


class _TooLongError(Exception):
    """A head has more bytes than one may have."""


def connection_limit() -> int:
    """Take the descriptors that are needed, and say how many connections those given allow."""
    wanted = _MOST_CONNECTIONS + _RESERVED_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _MOST_CONNECTIONS
    given = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (given, hard))
    except (OSError, ValueError):  # some systems have a further limit
        given = soft
    return max(given - _RESERVED_DESCRIPTORS, given // 2)


class BoundedHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which aborts connections that go beyond the bounds.

    Attributes:
        head_seconds: How long a head may take, from the connection or its own first byte on.
            So long may the rest of a body take, too, once it is answered.
        most_connections: How many connections there may be; one more is closed at once.
        always: The headers of the answers that are written here.
        stopping: The server ends: a connection whose handshake was still going on comes too late.
    """

    head_seconds: float = HEAD_SECONDS
    most_connections: int = _MOST_CONNECTIONS
    always: tuple[Header, ...] = ALWAYS
    stopping: bool = False

    _certificate: ClientCertificate | None = None
    _deadline: asyncio.TimerHandle | None = None
    _in_head: bool = True
    _received: int = 0
    _named: int = 0
    _refused_as: int = 400
    _broken: bool = False

    def connection_made(  # type: ignore[override]
        self, transport: asyncio.Transport
    ) -> None:
        """Begin to wait for a head, if there is room for one more."""
        super().connection_made(transport)
        self._certificate = certificate_of_connection(transport)
        if self.stopping or len(self.connections) > self.most_connections:
            transport.abort()
            return
        if self._certificate is not None and self.is_outdated():
            transport.abort()
            return
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what is neither a head that has ended nor body: heads, and trailers of chunks."""
        if self._broken:
            return
        if self._in_head:
            self._arm()
        self._received += len(data)
        if self._received > MAX_HEAD_BYTES + _MAX_READ:
            self.transport.abort()
            return
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text
        """Answer what is no request, and read no further on this connection.

        An answer that is still due to an earlier request is given whole, and is then the last one.
        """
        self._broken = True
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_complete:
            self.transport.write(refusal(self._refused_as, _TOLD[self._refused_as], self.always))
            self.transport.close()
        elif cycle.more_body:  # its own body is what is wrong
            self.transport.abort()
        else:
            cycle.keep_alive = False
            self.pipeline.clear()

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        super().on_message_begin()
        self._named = 0
        if self._certificate is not None:
            self.scope[CLIENT_CERTIFICATE] = self._certificate  # type: ignore[typeddict-unknown-key]

    def on_url(self, url: bytes) -> None:
        """Count a part of the request's target."""
        super().on_url(url)
        self._count(len(url), too_long=414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header with its colon and line end.

        What comes after a body is a trailer, and no header (RFC 9110 section 6.5.1): a proxy that
        passes it on has replaced what a client wrote into the head, and nothing here.
        """
        if self._in_head:
            super().on_header(name, value)
        self._count(len(name) + len(value) + 4, too_long=431)

    def on_headers_complete(self) -> None:
        """The head is whole: what follows is bounded elsewhere."""
        self._in_head = False
        self._received = 0
        self._disarm()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of body has come: its size is bounded where it is read."""
        self._received = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The next head may come; it has not begun to take time yet."""
        super().on_message_complete()
        self._in_head = True
        self._received = 0

    def on_response_complete(self) -> None:
        """Do not wait for ever for the rest of a body that was answered before its end.

        uvicorn throws such a body away, and each piece of it ends uvicorn's keep-alive timeout.
        """
        super().on_response_complete()
        if not self._in_head:
            self._arm()

    def is_outdated(self) -> bool:
        """Say whether the handshake began before the authorities were read again."""
        return False

    def end_certified(self) -> None:
        """End the connection, after its answers, if a certificate was verified when it began.

        Other authorities may be trusted now; whoever has one shows it again.
        """
        if self._certificate is not None:
            self.shutdown()

    def _count(self, length: int, *, too_long: int) -> None:
        self._named += length
        if self._named > MAX_HEAD_BYTES:
            self._refused_as = too_long
            raise _TooLongError  # the parser stops, and ``send_400_response`` follows

    def _arm(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

# SPDX-License-Identifier: Apache-2.0
"""HttpServer: uvicorn with uvloop and httptools, made quiet and bounded.

It logs nothing on its own: request lines and headers hold credentials, and what an operator needs
goes to the audit.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Final, cast

import uvicorn
from starlette.types import ASGIApp

from keyfob.http.answer_headers import ALWAYS, STRICT_TRANSPORT, AnswerHeaders, Header
from keyfob.http.listen import BACKLOG, Listen
from keyfob.http.protocol import BoundedHttpProtocol, connection_limit
from keyfob.http.tls import RenewableContext

__all__ = ["HttpServer"]

_GRACE_SECONDS: Final = 5
_KEEP_ALIVE_SECONDS: Final = 15


class HttpServer(uvicorn.Server):
    """uvicorn, with the things that it leaves to us.

    It says when it listens and when it stops, takes a renewed certificate without a restart, and
    leaves signals alone where the process has its own plans for them.

    Args:
        app: What answers.
        listen: The certificate.
        sockets: Bound and listening.
        on_ready: Called once, in the event loop, when requests are answered.
        on_stop: Called once, in the event loop, when it begins to end: whoever waits in a request
            goes home.
        signals: SIGTERM and SIGINT end it.
    """

    def __init__(
        self,
        app: ASGIApp,
        listen: Listen,
        sockets: list[socket.socket],
        *,
        on_ready: Callable[[], None] | None = None,
        on_stop: Callable[[], None] | None = None,
        signals: bool = True,
    ) -> None:
        always = (*ALWAYS, STRICT_TRANSPORT) if listen.strict_transport else ALWAYS
        self._protocol = _protocol(listen, always)
        super().__init__(_config(AnswerHeaders(app, always), listen, self._protocol))
        self._sockets = sockets
        self._on_ready = on_ready
        self._on_stop = on_stop
        self._signals = signals
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._sockets[0].getsockname()[1])

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until SIGTERM, SIGINT or ``should_exit``.

        uvicorn raises a captured signal again at the end, so that the process ends by it unless
        the caller has a handler of its own.
        """
        super().run(sockets or self._sockets)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve in the running event loop until ``should_exit``, or a signal that it takes."""
        await super().serve(sockets or self._sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals that end a process, if they are ours to take."""
        with super().capture_signals() if self._signals else contextlib.nullcontext():
            yield

    def reload_certificate(self) -> None:
        """Go by what the files hold now, for connections from now on: certificate, authorities.

        Those on which a client has shown a certificate end, after their answers.

        Raises:
            ConfigError: The files are not what they have to be; what was before stays.
        """
        if isinstance(self.config.ssl, RenewableContext):
            self.config.ssl.renew()
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._end_certified)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, then say so."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self._on_ready is not None:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the waiting go home, finish what is being answered, end the application."""
        self._protocol.stopping = True
        if self._on_stop is not None:
            self._on_stop()
        await super().shutdown(sockets)

    def _end_certified(self) -> None:
        for connection in list(self.server_state.connections):
            cast("BoundedHttpProtocol", connection).end_certified()


def _config(app: ASGIApp, listen: Listen, protocol: type[BoundedHttpProtocol]) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    config.load()
    if listen.certificate is not None:
        config.ssl = RenewableContext.of(listen)
    return config


def _protocol(listen: Listen, headers: tuple[Header, ...]) -> type[BoundedHttpProtocol]:
    class Protocol(BoundedHttpProtocol):
        head_seconds = listen.head_seconds
        most_connections = connection_limit()
        always = headers

        def is_outdated(self) -> bool:
            context = self.config.ssl
            secured = self.transport.get_extra_info("ssl_object")
            return isinstance(context, RenewableContext) and not context.is_newest(secured)

    return Protocol

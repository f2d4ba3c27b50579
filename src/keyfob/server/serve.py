# SPDX-License-Identifier: Apache-2.0
"""Runs the authorization server over TLS, until it is told to stop.

uvicorn with uvloop and httptools. It logs nothing on its own: request lines and headers hold
credentials, and what an operator needs goes to the audit.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette

from keyfob.errors import ConfigError
from keyfob.server.app import create_app
from keyfob.server.audit import AuditSink, ignore
from keyfob.server.http_protocol import HEAD_SECONDS, BoundedHttpProtocol, connection_limit
from keyfob.server.settings import ServerSettings

__all__ = ["HttpServer", "Listen", "make_server", "serve"]

_BACKLOG: Final = 2_048  # a fleet that comes back after an outage comes at once
_GRACE_SECONDS: Final = 5
_KEEP_ALIVE_SECONDS: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the server listens, and the certificate that it shows.

    Args:
        host: A name or address; every address that it stands for is listened on.
        port: A port; 0 takes a free one.
        certificate: PEM, the whole chain; None serves without TLS, for the loopback address and
            behind a proxy on the same machine.
        private_key: PEM.
        head_seconds: How long the head of a request may take.
    """

    host: str = "127.0.0.1"
    port: int = 8443
    certificate: Path | None = None
    private_key: Path | None = None
    head_seconds: float = HEAD_SECONDS


class HttpServer(uvicorn.Server):
    """uvicorn, with the three things that it leaves to us.

    It says when it listens, lets waiting readers go when it stops, and takes a renewed
    certificate without a restart. ``make_server`` makes one.

    Args:
        app: From ``create_app``.
        listen: The certificate.
        sockets: Bound and listening.
        on_ready: Called once, in the event loop, when requests are answered.
    """

    def __init__(
        self,
        app: Starlette,
        listen: Listen,
        sockets: list[socket.socket],
        *,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(_config(app, listen))
        self._app = app
        self._listen = listen
        self._sockets = sockets
        self._on_ready = on_ready

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

    def reload_certificate(self) -> None:
        """Show the certificate that is in the files now, to connections from now on.

        Raises:
            ConfigError: The files are not a certificate and its key; the old one stays.
        """
        context = self.config.ssl
        if context is not None and self._listen.certificate is not None:
            _check_certificate(self._listen)
            context.load_cert_chain(self._listen.certificate, self._listen.private_key)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, then say so."""
        await super().startup(sockets)
        if self._on_ready is not None:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the waiting go home, finish what is being answered, close the register."""
        self._app.state.stopping.set()
        await super().shutdown(sockets)


def make_server(
    settings: ServerSettings,
    listen: Listen,
    *,
    audit: AuditSink = ignore,
    on_ready: Callable[[], None] | None = None,
) -> HttpServer:
    """Make a server that listens and does not answer before ``run``.

    Raises:
        ConfigError: The certificate, the address or the register cannot be used.
    """
    _check_certificate(listen)
    sockets = _bind(listen.host, listen.port)
    try:
        app = create_app(settings, audit=audit)
    except BaseException:
        _close(sockets)
        raise
    return HttpServer(app, listen, sockets, on_ready=on_ready)


def serve(
    settings: ServerSettings,
    listen: Listen,
    *,
    audit: AuditSink = ignore,
    on_ready: Callable[[], None] | None = None,
) -> None:
    """Run the server until SIGTERM or SIGINT; prints nothing.

    Raises:
        ConfigError: The certificate, the address or the register cannot be used.
    """
    make_server(settings, listen, audit=audit, on_ready=on_ready).run()


def _config(app: Starlette, listen: Listen) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=_protocol(listen),
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=listen.certificate,
        ssl_keyfile=listen.private_key,
    )
    config.load()
    return config


def _protocol(listen: Listen) -> type[BoundedHttpProtocol]:
    class Protocol(BoundedHttpProtocol):
        head_seconds = listen.head_seconds
        most_connections = connection_limit()

    return Protocol


def _check_certificate(listen: Listen) -> None:
    """Load the files aside first: a context that failed half way shows a wrong certificate."""
    if listen.certificate is None:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(listen.certificate, listen.private_key)
    except OSError as error:  # SSLError is one
        raise ConfigError(
            f"{listen.certificate} and {listen.private_key} are no certificate and its key: {error}"
        ) from error


def _bind(host: str, port: int) -> list[socket.socket]:
    bound: list[socket.socket] = []
    failure = OSError(errno.EADDRNOTAVAIL, "no address")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            # Of several addresses the first chooses the port where it is free to choose.
            chosen = bound[0].getsockname()[1] if bound else port
            try:
                bound.append(_listener(family, str(address[0]), chosen))
            except OSError as error:
                # A machine without IPv6 still resolves localhost to ::1 as well.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                failure = error
        if not bound:
            raise failure
    except OSError as error:
        _close(bound)
        raise ConfigError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return bound


def _listener(family: int, address: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _close(sockets: list[socket.socket]) -> None:
    for each in sockets:
        each.close()

# SPDX-License-Identifier: Apache-2.0
"""Runs the authorization server over TLS, until it is told to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from keyfob.http.certificate import check_certificate
from keyfob.http.listen import Listen, bind, close
from keyfob.http.server import HttpServer
from keyfob.server.app import create_app
from keyfob.server.audit import AuditSink, ignore
from keyfob.server.settings import ServerSettings

__all__ = ["HttpServer", "Listen", "make_server", "serve"]


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
    check_certificate(listen)
    listen = replace(listen, strict_transport=settings.strict_transport)
    sockets = bind(listen)
    try:
        app = create_app(settings, audit=audit)
    except BaseException:
        close(sockets)
        raise
    return HttpServer(app, listen, sockets, on_ready=on_ready, on_stop=app.state.stopping.set)


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

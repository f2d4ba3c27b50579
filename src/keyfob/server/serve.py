# SPDX-License-Identifier: Apache-2.0
"""Runs the authorization server over TLS, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from keyfob.http.listen import Listen, bind, close
from keyfob.http.server import HttpServer
from keyfob.http.tls import check_tls
from keyfob.server.app import create_app
from keyfob.server.audit import AuditSink, TokenEvent, ignore
from keyfob.server.events.metrics import DeliveryMetrics
from keyfob.server.events.told import DeliveryAudit, ignore_deliveries
from keyfob.server.metrics import ServerMetrics
from keyfob.server.operators_app import operators_app
from keyfob.server.settings import ServerSettings
from keyfob.server.signing.events import KeyAudit, ignore_keys
from keyfob.server.trusted_issuers.assertions import TrustedAssertions
from keyfob.server.trusted_issuers.settings import TrustedAssertionIssuer

__all__ = ["HttpServer", "Listen", "Operators", "Server", "make_server", "serve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operators:
    """Where operators ask for health and metrics.

    Args:
        listen: A listener of its own, for the loopback address or a network of operators.
        audit_dropped: Tells how many lines the audit lost.
    """

    listen: Listen
    audit_dropped: Callable[[], int] = int


def make_server(
    settings: ServerSettings,
    listen: Listen,
    *,
    audit: AuditSink = ignore,
    key_audit: KeyAudit = ignore_keys,
    delivery_audit: DeliveryAudit = ignore_deliveries,
    on_ready: Callable[[], None] | None = None,
    operators: Operators | None = None,
) -> Server:
    """Make a server that listens and does not answer before ``run``.

    Args:
        settings: Issuer, audience, database.
        listen: Where.
        audit: Is told of each token that is issued or refused, and of each refused guard.
        key_audit: Is told of each change of the signing keys.
        delivery_audit: Is told what is out of the usual with the receivers of security events.
        on_ready: Called once, in the event loop, when requests are answered.
        operators: Where health and metrics are told; None: there are no metrics.

    Raises:
        ConfigError: The certificate, the address or the register cannot be used.
    """
    listen = replace(listen, strict_transport=settings.strict_transport)
    with contextlib.ExitStack() as undoing:
        sockets = _bound(listen, undoing)
        theirs = None if operators is None else _bound(operators.listen, undoing)

        def sink(event: TokenEvent) -> None:
            if metrics is not None:
                metrics.count(event)
            audit(event)

        metrics: ServerMetrics | None = None
        app = create_app(settings, audit=sink, key_audit=key_audit, delivery_audit=delivery_audit)
        made = Server(app, listen, sockets, on_ready=on_ready, on_stop=app.state.stopping.set)
        made.settings, made.assertions = settings, app.state.assertions
        if operators is not None and theirs is not None:
            metrics = ServerMetrics(
                limited=lambda: app.state.limits.refusals,
                connections=lambda: len(made.server_state.connections),
                audit_dropped=operators.audit_dropped,
            )
            metrics.also(DeliveryMetrics(app.state.receivers.statuses, time.time))
            beside = operators_app(app.state.health, metrics)
            made.beside = HttpServer(beside, operators.listen, theirs, signals=False)
        undoing.pop_all()
    return made


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


class Server(HttpServer):
    """The server, and the listener of operators beside it for as long as it serves."""

    settings: ServerSettings
    assertions: TrustedAssertions
    beside: HttpServer | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve both; operators still see that the other one stops."""
        if self.beside is None:
            await super().serve(sockets)
            return
        running = asyncio.create_task(self.beside.serve(), name="operators")
        try:
            await super().serve(sockets)
        finally:
            self.beside.should_exit = True
            await running

    def trust(self, issuers: tuple[TrustedAssertionIssuer, ...]) -> None:
        """Take the assertions of these issuers from now on, and of no others.

        Raises:
            ConfigError: One cannot be trusted; those from before stay.
        """
        replace(self.settings, trusted_issuers=issuers)  # checks them with what counts here
        self.assertions.trust(issuers)

    def reload_certificate(self) -> None:
        """Show the certificates that are in the files now.

        Raises:
            ConfigError: The files are not a certificate and its key; the old one stays.
        """
        super().reload_certificate()
        if self.beside is not None:
            self.beside.reload_certificate()


def _bound(listen: Listen, undoing: contextlib.ExitStack) -> list[socket.socket]:
    check_tls(listen)
    sockets = bind(listen)
    undoing.callback(close, sockets)
    return sockets

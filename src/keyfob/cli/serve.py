# SPDX-License-Identifier: Apache-2.0
"""``keyfob server`` and ``keyfob guard``: one part alone, in the foreground."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import uvloop

from keyfob.brokers.mosquitto.link import LinkServer
from keyfob.cli.compose import bindings
from keyfob.cli.installation import DEFAULT_DIRECTORY, Directory, settings_of
from keyfob.config import Settings
from keyfob.guard.audit import AuditLog, AuditSink
from keyfob.guard.audit_sinks import ConsoleSink, JsonLinesSink
from keyfob.guard.database import Database
from keyfob.guard.guard import Guard
from keyfob.guard.revocations import RevocationStore
from keyfob.guard.sessions import SessionStore
from keyfob.server.audit import TokenEvent
from keyfob.server.serve import Listen, serve
from keyfob.server.settings import ServerSettings

__all__ = ["guard", "server"]


def server(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Run the authorization server."""
    _log_to_stderr()
    settings = settings_of(directory).settings.server
    serve(
        ServerSettings(
            issuer=settings.issuer,
            audience=settings.audience,
            database=settings.database,
            default_lifetime=settings.token_lifetime,
        ),
        Listen(
            host=settings.host,
            port=settings.port,
            certificate=settings.certificate,
            private_key=settings.private_key,
        ),
        audit=_show_token_event,
        on_ready=lambda: _print(f"ready at {settings.issuer}"),
    )


def guard(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Run the guard: decide CONNECTs for the broker beside it."""
    _log_to_stderr()
    uvloop.run(_guard(settings_of(directory).settings))


async def _guard(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    sinks: list[AuditSink] = [JsonLinesSink(settings.guard.audit), ConsoleSink(sys.stdout)]
    with Database.open(settings.guard.database) as database, AuditLog(sinks) as audit:
        deciding = Guard(
            bindings(settings),
            sessions=SessionStore(database),
            revocations=RevocationStore(database),
            audit=audit,
            empty_client_id=settings.guard.empty_client_id,
            token_fields=settings.guard.token_fields,
        )
        async with deciding:
            if not await deciding.ready(settings.guard.ready_timeout):
                _print("not every issuer has answered; deciding with what is known")
            link = LinkServer(deciding, settings.guard.socket, users=settings.guard.socket_users)
            async with link:
                _print(f"ready at {settings.guard.socket}")
                await stop.wait()


def _show_token_event(event: TokenEvent) -> None:
    device = event.subject or event.client_id or "?"
    if event.outcome == "issued":
        _print(f"issued a token to {device} for {event.expires_at - int(event.at)} s")
    else:
        _print(f"refused a token to {device} from {event.peer}: {event.error} ({event.reason})")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("keyfob").setLevel(logging.INFO)

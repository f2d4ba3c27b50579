# SPDX-License-Identifier: Apache-2.0
"""``keyfob server`` and ``keyfob guard``: one part alone, in the foreground."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import uvloop

from keyfob.brokers.mosquitto.link import LinkServer
from keyfob.cli.collector import calm_collector
from keyfob.cli.compose import bindings, server_settings
from keyfob.cli.console import Console
from keyfob.cli.installation import DEFAULT_DIRECTORY, Directory, settings_of
from keyfob.config import AuditTarget, ServerSection, Settings
from keyfob.errors import ConfigError
from keyfob.guard.audit import AuditLog, AuditSink
from keyfob.guard.audit_sinks import ConsoleSink, JsonLinesSink
from keyfob.guard.database import Database
from keyfob.guard.guard import Guard
from keyfob.guard.revocations import RevocationStore
from keyfob.guard.sessions import SessionStore
from keyfob.server.audit import TokenEvent
from keyfob.server.serve import HttpServer, Listen, make_server

__all__ = ["guard", "server"]

Show = Callable[[str], None]


def server(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Run the authorization server alone, in the foreground.

    SIGHUP makes it read its certificate again.
    """
    settings = settings_of(directory).settings.server
    _log_to_stderr()
    # uvicorn raises the signal that ended it once more; to be told to stop is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to read again
    with Console(sys.stdout) as console:
        _server(settings, console.show).run()


def _server(settings: ServerSection, show: Show) -> HttpServer:
    def on_ready() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, made, show)
        show(f"ready at {settings.issuer}")

    made = make_server(
        server_settings(settings),
        Listen(
            host=settings.host,
            port=settings.port,
            certificate=settings.certificate,
            private_key=settings.private_key,
        ),
        audit=lambda event: show(_told(event)),
        on_ready=on_ready,
    )
    return made


def _leave(*_: object) -> NoReturn:
    sys.exit(0)


def _reload(server: HttpServer, show: Show) -> None:
    try:
        server.reload_certificate()
    except ConfigError as error:
        show(f"the old certificate stays: {error.message}")
    else:
        show("read the certificate again")


def guard(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Run the guard alone, for the broker beside it."""
    settings = settings_of(directory).settings
    _log_to_stderr()
    with Console(sys.stdout) as console:
        uvloop.run(_guard(settings, console.show))


async def _guard(settings: Settings, show: Show) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    sinks = [_sink(settings, target) for target in settings.audit]
    with Database.open(settings.guard.database) as database, AuditLog(sinks) as audit:
        deciding = Guard(
            bindings(settings),
            sessions=SessionStore(database),
            revocations=RevocationStore(database),
            audit=audit,
            empty_client_id=settings.guard.empty_client_id,
            token_fields=settings.guard.token_fields,
        )
        calm_collector()
        async with deciding:
            if not await deciding.ready(settings.guard.ready_timeout):
                show("not every issuer has answered; deciding with what is known")
            link = LinkServer(
                deciding,
                settings.guard.socket,
                users=settings.guard.socket_users,
                group=settings.guard.socket_group or None,
            )
            async with link:
                show(f"ready at {settings.guard.socket}")
                await stop.wait()


def _sink(settings: Settings, target: AuditTarget) -> AuditSink:
    match target.kind:
        case "console":
            return ConsoleSink(sys.stdout)
        case "stdout":
            return JsonLinesSink(Path("/dev/stdout"))
        case "file" if target.path is not None:
            return JsonLinesSink(target.path)
    raise settings.wrong("guard.audit", "syslog cannot be written to yet; write file:PATH")


def _told(event: TokenEvent) -> str:
    device = event.subject or event.client_id or "?"
    if event.outcome == "issued":
        return f"issued a token to {device} for {event.expires_at - int(event.at)} s"
    return f"refused a token to {device} from {event.peer}: {event.error} ({event.reason})"


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("keyfob").setLevel(logging.INFO)


class _Plain(logging.Formatter):
    """One line for people: what is more than information says so first."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        text = super().format(record)
        return text if record.levelno <= logging.INFO else f"{record.levelname.lower()}: {text}"

# SPDX-License-Identifier: Apache-2.0
"""``keyfob server``: the authorization server alone, in the foreground."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from keyfob.cli.collector import calm_collector
from keyfob.cli.console import Console
from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.installation import settings_of
from keyfob.cli.logs import log_to_stderr
from keyfob.cli.server_grants import grant_settings
from keyfob.cli.server_settings import server_settings
from keyfob.cli.shown import time_of
from keyfob.config import HttpSection, Settings, load
from keyfob.errors import ConfigError
from keyfob.server.audit import TokenEvent
from keyfob.server.audit_file import AuditFile
from keyfob.server.events.told import DeliveryNote
from keyfob.server.serve import Listen, Operators, Server, make_server
from keyfob.server.signing.events import KeyEvent

__all__ = ["server"]

Show = Callable[[str], None]

_REFUSED: Final = {
    "token": "a token",
    "revocations": "the revocations",
    "introspection": "an introspection",
    "revocation": "a revocation",
    "admin": "an administrative request",
    "registration": "a registration",
    "device_authorization": "a device code",
    "sign_in": "a sign-in",
    "approval": "an approval",
}


def server(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Run the authorization server alone, in the foreground.

    SIGHUP makes it read its certificate and its trusted issuers again, and open its audit file
    anew.
    """
    settings = settings_of(directory).settings
    log_to_stderr()
    # uvicorn raises the signal that ended it once more; to be told to stop is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to read again
    with Console(sys.stdout) as console, AuditFile(settings.server.audit) as file:
        _server(settings, console.show, file).run()


def _server(settings: Settings, show: Show, file: AuditFile) -> Server:
    server = settings.server

    def on_ready() -> None:
        again = partial(_reload, made, show, file, settings.path)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, again)
        calm_collector()
        show(f"ready at {server.issuer}")

    def audit(event: TokenEvent) -> None:
        file(event)
        show(_told(event))

    made = make_server(
        server_settings(settings),
        Listen(
            host=server.host,
            port=server.port,
            certificate=server.certificate,
            private_key=server.private_key,
            client_ca=server.client_ca,
        ),
        audit=audit,
        key_audit=lambda event: show(_told_of_key(event)),
        delivery_audit=lambda note: show(_told_of_delivery(note)),
        on_ready=on_ready,
        operators=_operators(server.metrics, file),
    )
    return made


def _operators(section: HttpSection, file: AuditFile) -> Operators | None:
    if not section.port:
        return None
    listen = Listen(
        host=section.host,
        port=section.port,
        certificate=section.certificate,
        private_key=section.private_key,
    )
    return Operators(listen=listen, audit_dropped=lambda: file.dropped)


def _leave(*_: object) -> NoReturn:
    sys.exit(0)


def _reload(server: Server, show: Show, file: AuditFile, path: Path) -> None:
    try:
        file.reopen()
    except ConfigError as error:
        show(f"the old audit file stays: {error.message}")
    _trust(server, show, path)
    try:
        server.reload_certificate()
    except ConfigError as error:
        show(f"the old certificate stays: {error.message}")
    else:
        show("read the certificate again")


def _trust(server: Server, show: Show, path: Path) -> None:
    try:
        issuers = grant_settings(load(path))["trusted_issuers"]
        server.trust(issuers)
    except ConfigError as error:
        show(f"the old trusted issuers stay: {error.message}")
    else:
        show("trusted issuers are now: " + (", ".join(one.name for one in issuers) or "none"))


def _told(event: TokenEvent) -> str:
    device = event.subject or event.client_id or event.operator or "?"
    if event.outcome == "issued":
        return f"issued a token to {device} for {event.expires_at - int(event.at)} s"
    if event.outcome == "revoked":
        return f"revoked a token of {device}, as {event.client_id} asked"
    if event.outcome == "signed_in":
        return f"{event.operator} signed in from {event.peer}"
    if event.outcome in ("approved", "denied"):
        return f"{event.operator} {event.outcome} {device} for {event.client_id} from {event.peer}"
    what = _REFUSED[event.request]
    return f"refused {what} to {device} from {event.peer}: {event.error} ({event.reason})"


def _told_of_key(event: KeyEvent) -> str:
    key = f"signing key {event.kid} ({event.algorithm})"
    match event.what:
        case "published":
            return f"{key} is published, and signs from {time_of(event.signs_from)}"
        case "signing":
            return f"{key} signs from now on"
        case "forgotten":
            return f"{key} is forgotten: the last token that it signed has ended"
        case "withdrawn":
            return f"{key} is withdrawn"
        case "unreadable":
            return f"{key} cannot be decrypted: see key_encryption in [server]"


def _told_of_delivery(note: DeliveryNote) -> str:
    to = f"events to {note.receiver}"
    about = f"the event {note.token_id} about {note.subject}"
    match note.what:
        case "failing":
            return f"{to} are not taken: {note.reason}; they wait, and are sent again"
        case "recovered":
            return f"{to} are taken again"
        case "held":
            return f"{to}: {about} is not taken: {note.reason}; it is sent again"
        case "rejected":
            return f"{to}: {about} was refused for good: {note.reason}; it is skipped"
        case "expired":
            return f"{to}: {note.count} given up: all tokens that they mean have ended"

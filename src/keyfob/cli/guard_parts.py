# SPDX-License-Identifier: Apache-2.0
"""From settings to the parts of a guard's processes, whichever of them need each."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from keyfob.brokers.mosquitto.link import LinkServer
from keyfob.config import AuditTarget, Settings
from keyfob.errors import ConfigError
from keyfob.guard.audit import AuditLog, AuditSink
from keyfob.guard.audit_sinks import ConsoleSink, JsonLinesSink, JsonStreamSink
from keyfob.guard.database import Database
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.histogram import Histogram
from keyfob.guard.revocations import RevocationStore
from keyfob.guard.sessions import MAX_OFFLINE, SessionStore
from keyfob.guard.shares import WHOLE, Share
from keyfob.guard.syslog_sink import SyslogSink
from keyfob.http.listen import Listen

__all__ = ["IssuerNames", "audit_log", "audit_sink", "listen", "make_guard", "make_link"]


class IssuerNames(Mapping[str, str]):
    """What the issuers are called now, by their ``iss``."""

    def __init__(self, issuers: Mapping[str, IssuerBinding]) -> None:
        self.issuers = issuers

    def __getitem__(self, iss: str) -> str:
        return self.issuers[iss].trusted.name

    def __iter__(self) -> Iterator[str]:
        return iter(self.issuers)

    def __len__(self) -> int:
        return len(self.issuers)


def audit_log(settings: Settings) -> AuditLog:
    """Open everywhere that decisions are written to.

    Raises:
        ConfigError: A file cannot be opened.
    """
    try:
        return AuditLog([audit_sink(target) for target in settings.audit])
    except ConfigError as error:
        raise settings.wrong("guard.audit", error.message) from error


def make_guard(
    settings: Settings,
    issuers: Mapping[str, IssuerBinding],
    database: Database,
    audit: AuditLog,
    latency: Histogram,
    *,
    share: Share = WHOLE,
) -> Guard:
    """Make what decides.

    Args:
        settings: The configuration.
        issuers: What ``compose.bindings`` made of it.
        database: The guard's file.
        audit: Hears of every decision.
        latency: Counts how long they took.
        share: Whose clients it decides about; where that is not everybody, another process writes
            the revocations.

    Raises:
        ConfigError: The issuers do not fit together, or the file is damaged.
    """
    alone = share == WHOLE
    return Guard(
        issuers,
        sessions=SessionStore(database, max_offline=MAX_OFFLINE // share.workers, share=share),
        revocations=RevocationStore(database, writes=alone),
        audit=audit,
        latency=latency,
        empty_client_id=settings.guard.empty_client_id,
        token_fields=settings.guard.token_fields,
        authentication_methods=settings.guard.authentication_methods,
    )


def make_link(settings: Settings, guard: Guard, *, share: Share = WHOLE) -> LinkServer:
    """Make what serves the brokers' plugins.

    Raises:
        ConfigError: A user that may open a link does not exist.
    """
    return LinkServer(
        guard,
        settings.guard.socket,
        users=settings.guard.socket_users,
        group=settings.guard.socket_group or None,
        blocking_wait=settings.guard.blocking_wait_ms / 1000,
        worker=share.worker,
        workers=share.workers,
    )


def listen(settings: Settings) -> Listen | None:
    """Say where health, metrics and security events are served; None: nowhere."""
    http = settings.guard.http
    if not http.port:
        return None
    return Listen(
        host=http.host,
        port=http.port,
        certificate=http.certificate,
        private_key=http.private_key,
    )


def audit_sink(target: AuditTarget) -> AuditSink:
    """Open one place that decisions are written to.

    Raises:
        ConfigError: A file cannot be opened.
    """
    match target.kind:
        case "console":
            return ConsoleSink(sys.stdout)
        case "stdout":
            return JsonStreamSink(sys.stdout.buffer)
        case "syslog":
            place = (target.host, target.port) if target.host else target.path
            return SyslogSink() if place is None else SyslogSink(place)
        case "file":
            return _file(target.path)


def _file(path: Path | None) -> AuditSink:
    assert path is not None  # noqa: S101 - a target of this kind has one
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return JsonLinesSink(path)
    except OSError as error:
        why = f"{path} cannot be opened: {error.strerror}"
        raise ConfigError(f"{why}; write another file") from error


def settings_that_wait(before: Settings, now: Settings) -> list[str]:
    """Name the settings of the guard that have changed and count from its next start only."""
    fields = type(before.guard).__struct_fields__
    return [
        f"guard.{name}"
        for name in fields
        if getattr(before.guard, name) != getattr(now.guard, name)
    ]

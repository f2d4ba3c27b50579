# SPDX-License-Identifier: Apache-2.0
"""A guard of several processes: this one follows the issuers and serves HTTP, its workers decide.

Each worker has a socket of its own for the brokers' plugins, which send each client to the worker
that it belongs to. All of them share the guard's file.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Self

import msgspec

from keyfob.brokers.mosquitto.unix_socket import UnixListener, peer_user
from keyfob.cli.compose import bindings, event_sources
from keyfob.cli.guard_parts import IssuerNames, audit_log, listen, settings_that_wait
from keyfob.cli.parts import Parts
from keyfob.cli.supervisor import START_TIMEOUT, Child, Supervisor
from keyfob.cli.worker_settings import spelled
from keyfob.config import Settings, load
from keyfob.errors import ConfigError
from keyfob.guard.audit import AuditLog
from keyfob.guard.background import keep_running
from keyfob.guard.database import Database
from keyfob.guard.events import EventReceiver
from keyfob.guard.gathered import Gathered
from keyfob.guard.guard import CLOCK_SKEW, RELOAD_TIMEOUT
from keyfob.guard.health import GuardHealth
from keyfob.guard.http_app import guard_app
from keyfob.guard.lead import Lead
from keyfob.guard.metrics import GuardMetrics
from keyfob.guard.reconsidering import Reconsidered
from keyfob.guard.revocations import RevocationStore
from keyfob.guard.seen_events import SeenEvents
from keyfob.guard.upstreams import Upstreams
from keyfob.http.server import HttpServer
from keyfob.http.serving import serving
from keyfob.tokens.issuers import MAX_EXPIRY_LEEWAY

__all__ = ["WORKER_READY", "lead", "lead_socket"]

WORKER_READY: Final = "decides at "
"""How the line begins with which a worker says that it serves."""

PURGE_INTERVAL: Final = 60.0
"""Seconds between two looks for revocations that are over."""

PURGE_MARGIN: Final = CLOCK_SKEW + MAX_EXPIRY_LEEWAY
"""Seconds that a revocation is kept past its end."""

_TRUSTED: Final = frozenset({0, os.geteuid()})
"""Whose processes may be workers."""

Show = Callable[[str], None]


def lead_socket(settings: Settings) -> Path:
    """Return where the workers find their lead."""
    socket = settings.guard.socket
    return socket.with_name(f"{socket.name}.lead")


@asynccontextmanager
async def lead(settings: Settings, show: Show) -> AsyncIterator[_Lead]:
    """Run a guard's lead and its workers; what is yielded reads the configuration again.

    Raises:
        ConfigError: The configuration is wrong, or something of it is taken.
        UpstreamError: A worker cannot be started.
    """
    async with AsyncExitStack() as running:
        database = running.enter_context(Database.open(settings.guard.database))
        audit = running.enter_context(audit_log(settings))
        made = _Lead(settings, show, database, audit)
        await running.enter_async_context(made)
        yield made


class _Lead:
    """The lead of one guard."""

    def __init__(self, settings: Settings, show: Show, database: Database, audit: AuditLog) -> None:
        self._settings = settings
        self._show = show
        self._database = database
        self._audit = audit
        self._parts = Parts()
        issuers = bindings(settings, parts=self._parts)
        self._names = IssuerNames(issuers)
        self._revocations = RevocationStore(database)
        self._workers = Supervisor(_children(settings), show, at_once=True)
        self._lead = Lead(self._revocations, stuck=self._end_worker)
        self._upstreams = Upstreams(
            issuers,
            learn=self._lead.learn,
            told=lambda *_: None,  # the lead has no sessions
            audit=audit,
            clock=time.time,
        )
        self._receiver = EventReceiver(
            event_sources(settings, issuers),
            guard=self._lead,
            seen=SeenEvents(database),
            audit=audit,
            clock=time.time,
        )
        self._figures = Gathered(
            settings.guard.workers,
            ask=lambda: self._lead.ask("figures"),
            own=self._health,
            audit=audit,
        )
        self._http: HttpServer | None = None
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._running.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._running.aclose()

    async def reload(self) -> None:
        """Read the configuration again, here and in every worker."""
        try:
            settings = load(self._settings.path)
            parts = Parts(self._parts)
            issuers = bindings(settings, parts=parts)
            sources = event_sources(settings, issuers)
            if self._http is not None:
                self._http.reload_certificate()
            await self._upstreams.replace(issuers, timeout=RELOAD_TIMEOUT)
        except ConfigError as error:
            self._show(f"the old configuration stays: {error.message}")
            return
        self._parts = parts
        self._receiver.accept_from(sources)
        self._names.issuers = issuers
        for key in settings_that_wait(self._settings, settings):
            self._show(f"{key} has changed, and counts from the next start")
        self._settings = settings
        answers = await self._lead.ask("reload", timeout=2 * RELOAD_TIMEOUT)
        came = [msgspec.msgpack.decode(each, type=Reconsidered) for each in answers.values()]
        self._show(
            f"read {settings.path.name} again: {sum(each.ended for each in came)} sessions ended,"
            f" {sum(each.changed for each in came)} changed, {sum(each.kept for each in came)} kept"
        )

    async def _start(self) -> None:
        settings = self._settings
        listener = UnixListener(lead_socket(settings))
        self._running.callback(listener.close)
        server = await asyncio.start_unix_server(self._serve, sock=listener.socket)
        self._running.callback(server.close)
        self._running.callback(self._lead.close)
        self._upstreams.start()
        self._running.push_async_callback(self._upstreams.stop)
        purging = asyncio.create_task(keep_running("purge of revocations", self._purge))
        self._running.callback(purging.cancel)
        if (where := listen(settings)) is not None:
            metrics = GuardMetrics(
                self._names,
                health=self._figures.health,
                audit=self._figures,
                latency=lambda: self._figures.latency,
                links=self._figures.links,
            )
            app = guard_app(
                self._figures.health,
                metrics=metrics,
                events=self._receiver,
                refresh=self._figures.refresh,
            )
            self._http = await self._running.enter_async_context(serving(app, where))
        if not await self._upstreams.ready(settings.guard.ready_timeout):
            self._show("not every issuer has answered; deciding with what is known")
        self._lead.become_ready()
        self._running.push_async_callback(self._workers.stop)
        await self._workers.start()
        self._show(f"ready at {settings.guard.socket}, with {settings.guard.workers} workers")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if peer_user(writer.get_extra_info("socket")) in _TRUSTED:
            await self._lead.serve(reader, writer)
        else:
            writer.close()

    async def _purge(self) -> None:
        while True:
            self._revocations.purge(time.time() - PURGE_MARGIN)
            await asyncio.sleep(PURGE_INTERVAL)

    def _end_worker(self, number: int) -> None:
        self._workers.signal(_name(number), signal.SIGKILL)

    def _health(self) -> GuardHealth:
        return GuardHealth(
            keys={},
            feeds=self._upstreams.feeds(),
            introspection={},
            cursors=dict(self._revocations.cursors),
            sessions=0,
            session_states={},
            cache_hits=0,
            cache_misses=0,
            revocations=len(self._revocations),
            storage_failure=self._database.failure,
            audit_dropped=self._audit.dropped,
        )


def _name(number: int) -> str:
    return f"worker-{number}"


def _children(settings: Settings) -> list[Child]:
    program = [sys.executable, "-m", "keyfob.cli.main", "guard-worker"]
    where = ["--guard", spelled(settings), "--dir", str(settings.directory)]
    folder = settings.guard.socket.parent
    return [
        Child(
            name=_name(number),
            command=[*program, "--worker", str(number), *where],
            ready_line=WORKER_READY,
            pid_file=folder / f"guard-{_name(number)}.pid",
            ready_within=START_TIMEOUT + settings.guard.ready_timeout,
        )
        for number in range(settings.guard.workers)
    ]

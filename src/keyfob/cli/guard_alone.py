# SPDX-License-Identifier: Apache-2.0
"""A guard that is one process: it decides, follows the issuers and serves HTTP itself."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from keyfob.cli.collector import calm_collector
from keyfob.cli.compose import bindings, event_sources
from keyfob.cli.guard_parts import IssuerNames, audit_log, listen, make_guard, make_link
from keyfob.cli.parts import Parts
from keyfob.cli.reloading import Reloading
from keyfob.config import Settings
from keyfob.guard.database import Database
from keyfob.guard.events import EventReceiver
from keyfob.guard.histogram import Histogram
from keyfob.guard.http_app import guard_app
from keyfob.guard.metrics import GuardMetrics
from keyfob.guard.seen_events import SeenEvents
from keyfob.http.serving import serving

__all__ = ["alone"]

Show = Callable[[str], None]


@asynccontextmanager
async def alone(settings: Settings, show: Show) -> AsyncIterator[Reloading]:
    """Run a guard; what is yielded reads the configuration again.

    Raises:
        ConfigError: The configuration is wrong, or something of it is taken.
    """
    async with AsyncExitStack() as running:
        database = running.enter_context(Database.open(settings.guard.database))
        audit = running.enter_context(audit_log(settings))
        parts, latency = Parts(), Histogram()
        issuers = bindings(settings, parts=parts)
        guard = make_guard(settings, issuers, database, audit, latency)
        receiver = EventReceiver(
            event_sources(settings, issuers),
            guard=guard,
            seen=SeenEvents(database),
            audit=audit,
            clock=time.time,
        )
        calm_collector()
        link = make_link(settings, guard)
        names = IssuerNames(issuers)
        metrics = GuardMetrics(
            names,
            health=guard.health,
            audit=audit,
            latency=lambda: latency,
            links=lambda: ((each.name, each.version) for each in link.brokers()),
        )
        await running.enter_async_context(guard)
        http = None
        if (where := listen(settings)) is not None:
            app = guard_app(guard.health, metrics=metrics, events=receiver)
            http = await running.enter_async_context(serving(app, where))
        if not await guard.ready(settings.guard.ready_timeout):
            show("not every issuer has answered; deciding with what is known")
        await running.enter_async_context(link)
        show(f"ready at {settings.guard.socket}")
        yield Reloading(
            settings, show, parts, guard=guard, receiver=receiver, names=names, http=http
        )

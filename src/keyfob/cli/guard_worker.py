# SPDX-License-Identifier: Apache-2.0
"""One of several processes that decide for a guard, each about its own clients."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from keyfob.brokers.mosquitto.link import LinkServer
from keyfob.brokers.mosquitto.workers import socket_of
from keyfob.cli.collector import calm_collector
from keyfob.cli.compose import bindings
from keyfob.cli.guard_lead import WORKER_READY, lead_socket
from keyfob.cli.guard_parts import audit_log, make_guard, make_link
from keyfob.cli.parts import Parts
from keyfob.cli.reloading import Reloading
from keyfob.cli.worker_settings import read_again
from keyfob.config import Settings
from keyfob.errors import UpstreamError
from keyfob.guard.database import Database
from keyfob.guard.figures import Figures, figures_of
from keyfob.guard.guard import Guard
from keyfob.guard.histogram import Histogram
from keyfob.guard.shares import Share
from keyfob.guard.worker_link import WorkerLink

__all__ = ["worker"]

Show = Callable[[str], None]


async def worker(settings: Settings, number: int, guard_section: str, show: Show) -> None:
    """Run a worker until it is told to stop.

    Args:
        settings: The configuration.
        number: Which worker, from 0.
        guard_section: What its lead goes by; see ``worker_settings``.
        show: Takes lines for people.

    Raises:
        UpstreamError: The lead is not there, or gone: without it no revocation would be heard of.
        ConfigError: The configuration is wrong, or another process is this worker already.
    """
    # Before the files are read: what is revoked, or configured, from here on comes by the link.
    link = await WorkerLink.join(lead_socket(read_again(settings, guard_section)), number)
    settings = read_again(settings, guard_section)
    share = Share(number, settings.guard.workers)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    async with AsyncExitStack() as running:
        database = running.enter_context(
            Database.open(settings.guard.database, role=f".worker-{number}")
        )
        audit = running.enter_context(audit_log(settings))
        parts, latency = Parts(), Histogram()
        issuers = bindings(settings, follow=False, parts=parts)
        guard = make_guard(settings, issuers, database, audit, latency, share=share)
        await guard.revoke(*link.first)
        calm_collector()
        plugins = make_link(settings, guard, share=share)
        reloading = Reloading(settings, show, parts, guard=guard)

        async def figures() -> Figures:
            links = ((each.name, each.version) for each in plugins.brokers())
            return figures_of(guard.health(), audit, latency, links)

        await running.enter_async_context(guard)
        answers = {"figures": figures, "reload": reloading.reload}
        work = [
            asyncio.create_task(stop.wait()),
            asyncio.create_task(link.run(guard.revoke, answers), name="link to the lead"),
            asyncio.create_task(_serve(settings, share, guard, link, plugins, show)),
        ]
        await _until_one_ends(work)
        if not stop.is_set():
            raise UpstreamError("the lead of this guard is gone")


async def _until_one_ends(work: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel the others when one ends; raise what it raised."""
    done, rest = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    for task in done:
        await task


async def _serve(
    settings: Settings,
    share: Share,
    guard: Guard,
    link: WorkerLink,
    plugins: LinkServer,
    show: Show,
) -> None:
    """Open the socket once keys and revocations are there, or have had their time."""
    limit = settings.guard.ready_timeout
    if not await guard.ready(limit):
        show("not every issuer has answered; deciding with what is known")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(link.ready.wait(), limit)
    async with plugins:
        show(f"{WORKER_READY}{socket_of(settings.guard.socket, share.worker)}")
        await asyncio.Event().wait()

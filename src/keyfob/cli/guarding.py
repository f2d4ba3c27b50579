# SPDX-License-Identifier: Apache-2.0
"""``keyfob guard``: the resource server beside the broker, in the foreground."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Annotated, Protocol

import typer
import uvloop

from keyfob.cli.console import Console
from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.guard_alone import alone
from keyfob.cli.guard_lead import lead
from keyfob.cli.guard_worker import worker
from keyfob.cli.installation import settings_of
from keyfob.cli.logs import log_to_stderr
from keyfob.guard.background import keep_running

__all__ = ["guard", "guard_worker"]

Show = Callable[[str], None]


class _Reloads(Protocol):
    async def reload(self) -> object: ...


def guard(directory: Directory = DEFAULT_DIRECTORY) -> None:
    """Run the guard alone, for the broker beside it.

    SIGHUP makes it read keyfob.toml again: issuers and policies count from then on, and who is
    connected is decided again.
    """
    settings = settings_of(directory).settings
    log_to_stderr()
    with Console(sys.stdout) as console:
        kind = alone if settings.guard.workers == 1 else lead
        uvloop.run(_until_stopped(kind(settings, console.show)))


def guard_worker(
    number: Annotated[int, typer.Option("--worker", help="Which worker this is, from 0.")],
    guard_section: Annotated[str, typer.Option("--guard", help="Its lead's [guard], as JSON.")],
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Run one worker of a guard; its lead starts it."""
    settings = settings_of(directory).settings
    log_to_stderr()
    with Console(sys.stdout) as console:
        uvloop.run(worker(settings, number, guard_section, console.show))


async def _until_stopped(running: AbstractAsyncContextManager[_Reloads]) -> None:
    stop, again = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, again.set)
    async with running as guard:
        work = keep_running("reading keyfob.toml again", partial(_whenever, again, guard))
        reloading = asyncio.create_task(work)
        await stop.wait()
        reloading.cancel()
        await asyncio.gather(reloading, return_exceptions=True)


async def _whenever(again: asyncio.Event, guard: _Reloads) -> None:
    while True:
        await again.wait()
        again.clear()  # whatever comes from here on is read again
        await guard.reload()

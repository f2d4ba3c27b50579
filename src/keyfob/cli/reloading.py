# SPDX-License-Identifier: Apache-2.0
"""Reads keyfob.toml again while the guard runs, and lets what has changed in it count."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from keyfob.cli.compose import bindings, event_sources
from keyfob.cli.guard_parts import IssuerNames, settings_that_wait
from keyfob.cli.parts import Parts
from keyfob.config import Settings, load
from keyfob.errors import ConfigError
from keyfob.guard.events import EventReceiver
from keyfob.guard.guard import Guard
from keyfob.guard.reconsidering import Reconsidered
from keyfob.http.server import HttpServer

__all__ = ["Reloading"]


class Reloading:
    """Issuers, policies and certificates as the file says now; the rest waits for the next start.

    Args:
        settings: The configuration that counts.
        show: Told what came of it.
        parts: What was made of it.
        guard: Who decides.
        receiver: Who takes security events; None: another process does.
        names: What the issuers are called.
        http: What serves HTTP; None: nothing, or another process.
    """

    def __init__(
        self,
        settings: Settings,
        show: Callable[[str], None],
        parts: Parts,
        *,
        guard: Guard,
        receiver: EventReceiver | None = None,
        names: IssuerNames | None = None,
        http: HttpServer | None = None,
    ) -> None:
        self._settings = settings
        self._show = show
        self._parts = parts
        self._guard = guard
        self._receiver = receiver
        self._names = names
        self._http = http
        # A lead asks again though the last answer took too long; what came later must win.
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> Reconsidered:
        """Read the configuration again; where it is wrong, everything goes on as it was.

        Returns:
            What became of the sessions.
        """
        async with self._one_at_a_time:
            return await self._reload()

    async def _reload(self) -> Reconsidered:
        try:
            settings = load(self._settings.path)
            parts = Parts(self._parts)
            issuers = bindings(settings, follow=self._receiver is not None, parts=parts)
            sources = event_sources(settings, issuers)
            if self._http is not None:
                self._http.reload_certificate()
            came_of_it = await self._guard.reload(issuers)
        except ConfigError as error:
            self._show(f"the old configuration stays: {error.message}")
            return Reconsidered()
        self._parts = parts
        if self._receiver is not None:
            self._receiver.accept_from(sources)
        if self._names is not None:
            self._names.issuers = issuers
        for key in settings_that_wait(self._settings, settings):
            self._show(f"{key} has changed, and counts from the next start")
        self._settings = settings
        self._show(
            f"read {settings.path.name} again: {came_of_it.ended} sessions ended,"
            f" {came_of_it.changed} changed, {came_of_it.kept} kept"
        )
        return came_of_it

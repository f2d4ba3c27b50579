# SPDX-License-Identifier: Apache-2.0
"""The trusted issuers, and the background work that keeps what is known of them fresh.

An issuer's parts (its keys, its feed of revocations) are exchanged one by one when the
configuration is read again: a part that stayed the same object goes on undisturbed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Protocol

from keyfob.errors import ConfigError
from keyfob.guard.audit import AuditEvent, AuditLog, Outcome
from keyfob.guard.background import Work, keep_running
from keyfob.guard.issuer_bindings import IssuerBinding
from keyfob.guard.reasking import Told
from keyfob.guard.revocation_feed import FeedHealth, Learn

__all__ = ["Upstreams"]

Key = tuple[str, str]
"""A session: its broker's name and its client identifier."""

_log = logging.getLogger("keyfob.guard")


class _Part(Protocol):
    async def aclose(self) -> None: ...


async def _ask(binding: IssuerBinding, changed: Callable[[str], None], told: Told[Key]) -> None:
    if binding.introspector is not None:
        binding.introspector.prepare()
        binding.introspector.watch(changed)
    if binding.reasking is not None:
        await binding.reasking.run(told)


class Upstreams:
    """The trusted issuers of a guard.

    Args:
        issuers: By their ``iss``.
        learn: Takes what their feeds bring.
        told: Takes what issuers say of live sessions.
        audit: Hears when an issuer begins to fail, and when it answers again.
        clock: Unix seconds.

    Raises:
        ConfigError: The issuers do not fit together.
    """

    def __init__(
        self,
        issuers: Mapping[str, IssuerBinding],
        *,
        learn: Learn,
        told: Told[Key],
        audit: AuditLog,
        clock: Callable[[], float],
    ) -> None:
        _check(issuers)
        self.issuers: Mapping[str, IssuerBinding] = dict(issuers)
        self._learn = learn
        self._told = told
        self._audit = audit
        self._clock = clock
        self._running: dict[_Part, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Start the work of every part that is not at work."""
        for part, name, work in self._works(self.issuers):
            if part not in self._running:
                task = asyncio.create_task(keep_running(name, work), name=name)
                self._running[part] = task

    async def stop(self) -> None:
        """End all work and close all connections."""
        await self._end({*_parts(self.issuers), *self._running})

    async def ready(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - it is an answer
        """Wait until every issuer's keys and present revocations have been read.

        Args:
            timeout: Seconds to wait at most; None: for as long as it takes.

        Returns:
            Whether they have.
        """
        waits: list[Awaitable[object]] = []
        for binding in self.issuers.values():
            waits.append(binding.keys.first_keys())
            if binding.revocations is not None:
                waits.append(binding.revocations.ready.wait())
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(*waits)
        except TimeoutError:
            return False
        return True

    def feeds(self) -> dict[str, FeedHealth]:
        """Tell the state of every feed of revocations, by its ``iss``."""
        return {
            iss: binding.revocations.health()
            for iss, binding in self.issuers.items()
            if binding.revocations is not None
        }

    async def replace(
        self,
        issuers: Mapping[str, IssuerBinding],
        *,
        timeout: float,  # noqa: ASYNC109 - a bound, not an error
    ) -> bool:
        """Trust other issuers from now on, once their keys are at hand.

        Args:
            issuers: By their ``iss``. Parts that are to go on are the same objects.
            timeout: Seconds to wait for the keys of new ones, while the old ones are still trusted.

        Returns:
            Whether the keys and revocations of all were read in time.

        Raises:
            ConfigError: The issuers do not fit together; nothing has changed.
        """
        _check(issuers)
        before = _parts(self.issuers)
        coming = Upstreams(
            issuers, learn=self._learn, told=self._told, audit=self._audit, clock=self._clock
        )
        coming._running = self._running
        coming.start()
        ready = await coming.ready(timeout)
        self.issuers = coming.issuers
        # What runs may also be of a reload that was given up.
        await self._end({*before, *self._running}.difference(_parts(self.issuers)))
        return ready

    def _works(self, issuers: Mapping[str, IssuerBinding]) -> Iterator[tuple[_Part, str, Work]]:
        for iss, binding in issuers.items():
            changed = partial(self._changed, iss)
            yield binding.keys, f"keys of {iss}", partial(binding.keys.run, changed)
            if binding.revocations is not None:
                run = partial(binding.revocations.run, self._learn, changed=changed)
                yield binding.revocations, f"revocations of {iss}", run
            if binding.introspector is not None:
                ask = partial(_ask, binding, changed, self._told)
                yield binding.introspector, f"introspection at {iss}", ask

    async def _end(self, parts: Collection[_Part]) -> None:
        tasks = [task for part in parts if (task := self._running.pop(part, None)) is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for part in parts:
            await part.aclose()

    def _changed(self, issuer: str, failure: str) -> None:
        if failure:
            _log.warning("%s: %s", issuer, failure)
        outcome = Outcome.UPSTREAM_FAILED if failure else Outcome.UPSTREAM_RECOVERED
        self._audit.record(
            AuditEvent(time=self._clock(), outcome=outcome, issuer=issuer, explanation=failure)
        )


def _parts(issuers: Mapping[str, IssuerBinding]) -> Iterator[_Part]:
    for binding in issuers.values():
        yield binding.keys
        if binding.revocations is not None:
            yield binding.revocations
        if binding.introspector is not None:
            yield binding.introspector


def _check(issuers: Mapping[str, IssuerBinding]) -> None:
    names = [binding.trusted.name for binding in issuers.values()]
    if len(set(names)) != len(names):
        raise ConfigError("two issuers have the same name")
    for iss, binding in issuers.items():
        if binding.trusted.issuer != iss:
            raise ConfigError(f"{binding.trusted.name}: bound under another iss than its own")

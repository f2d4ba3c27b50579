# SPDX-License-Identifier: Apache-2.0
"""How an issuer's keys stay fresh, wherever they come from: what sources of keys share.

One fetch at a time, whoever wants it; after one that an unknown key identifier caused, none for a
cooldown; the last good keys while fetching fails; and the next fetch before the last answer is too
old.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from keyfob.errors import KeyfobError
from keyfob.guard.absent_keys import AbsentKeys
from keyfob.guard.backoff import Backoff
from keyfob.tokens.keys import KeySet

__all__ = ["DEFAULT_FRESH", "KeyHealth", "RefreshingKeySource"]

DEFAULT_FRESH: Final = 900.0
"""Seconds between fetches where the issuer does not say: a quarter of a usual token's life."""

_log = logging.getLogger("keyfob.guard.keys")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyHealth:
    """The state of one source.

    Attributes:
        source: What is asked, for people.
        keys: How many usable keys there are.
        rejected: How many keys of the last document were refused.
        age: Seconds since the last good answer; None: there was none.
        fresh_for: Seconds that the last good answer is good for.
        failure: Why the last attempt failed; empty: it did not.
    """

    source: str
    keys: int
    rejected: int
    age: float | None
    fresh_for: float
    failure: str


def _nobody(_: str) -> None:
    """Tell nobody."""


class RefreshingKeySource(ABC):
    """What file and HTTP sources share: single flight, cooldown, last good keys, ageing."""

    def __init__(
        self, source: str, *, monotonic: Callable[[], float], backoff: Backoff, cooldown: float
    ) -> None:
        self._source = source
        self._monotonic = monotonic
        self._backoff = backoff
        self._cooldown = cooldown
        self._keys: KeySet | None = None
        self._document = b""
        self._fresh_for = DEFAULT_FRESH
        self._good_at: float | None = None
        self._asked_at: float | None = None
        self._failure = ""
        self._flight: asyncio.Task[None] | None = None
        self._scheduled: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._absent = AbsentKeys()
        self._have_keys = asyncio.Event()
        self._changed: Callable[[str], None] = _nobody

    @property
    def keys(self) -> KeySet | None:
        """The last good keys; None: none yet."""
        return self._keys

    def lacks(self, kid: str | None) -> bool:
        """Tell whether the issuer was asked for a key after it was wanted, and has none.

        Its answer counts for a cooldown: afterwards it can be asked again.
        """
        since = self._monotonic() - self._cooldown
        return not self._failure and self._absent.known(kid, since)

    def ask_again(self, kid: str | None) -> asyncio.Future[None] | None:
        """Start a fetch, or join the one under way; None while the cooldown lasts."""
        self._absent.want(kid)
        if self._flight is not None:
            return self._flight
        now = self._monotonic()
        if self._asked_at is not None and now - self._asked_at < self._cooldown:
            self._schedule(self._asked_at + self._cooldown - now)
            return None
        self._asked_at = now
        return self._start()

    def scheduled(self) -> asyncio.Future[None] | None:
        """Return what ends with the fetch that waits for the cooldown's end, if one does."""
        return self._scheduled

    async def first_keys(self) -> None:
        """Wait until there are keys."""
        await self._have_keys.wait()

    async def run(self, changed: Callable[[str], None]) -> None:
        """Keep the keys fresh until cancelled."""
        self._changed = changed
        while True:
            began = self._monotonic()
            await asyncio.shield(self._flight or self._start())
            rest = self._rest(self._monotonic() - began)
            await asyncio.sleep(self._backoff.next() if self._failure else rest)

    def _schedule(self, left: float) -> None:
        """Fetch as soon as the cooldown allows it: somebody wants a key that is not at hand."""
        if self._scheduled is None:
            loop = asyncio.get_running_loop()
            self._scheduled = loop.create_future()
            self._timer = loop.call_later(left, self._fetch_as_scheduled)

    def _fetch_as_scheduled(self) -> None:
        waiting, self._scheduled, self._timer = self._scheduled, None, None
        self._asked_at = self._monotonic()
        flight = self._flight or self._start()

        def landed(_: asyncio.Task[None]) -> None:
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

        flight.add_done_callback(landed)

    async def aclose(self) -> None:
        """Give a running fetch up."""
        if self._timer is not None:
            self._timer.cancel()
        if self._scheduled is not None:
            self._scheduled.cancel()
        self._scheduled = self._timer = None
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)

    def _rest(self, took: float) -> float:
        """Return how long to rest, so that the next answer is made before this one is too old.

        It is as old as its way here took, and the next one takes as long.
        """
        last = min(0.9 * self._fresh_for, self._fresh_for - 3 * took)
        return max(last - took, 0.1 * self._fresh_for)

    def health(self) -> KeyHealth:
        """Tell the state."""
        return KeyHealth(
            source=self._source,
            keys=len(self._keys.keys) if self._keys else 0,
            rejected=len(self._keys.rejected) if self._keys else 0,
            age=None if self._good_at is None else self._monotonic() - self._good_at,
            fresh_for=self._fresh_for,
            failure=self._failure,
        )

    @abstractmethod
    async def _document_now(self) -> tuple[bytes, float]:
        """Fetch the key set, and for how many seconds it is fresh."""

    def _start(self) -> asyncio.Task[None]:
        flight = asyncio.create_task(self._attempt(), name=f"keys of {self._source}")
        self._flight = flight
        flight.add_done_callback(self._landed)
        return flight

    def _landed(self, _: asyncio.Task[None]) -> None:
        self._flight = None

    async def _attempt(self) -> None:
        self._absent.begin()
        before = _kids(self._keys)
        try:
            document, self._fresh_for = await self._document_now()
            if document != self._document or self._keys is None:
                # A thread, because a megabyte of keys takes longer to import than a CONNECT waits.
                self._keys = await asyncio.to_thread(KeySet.from_jwks, document)
                self._document = document
                for key in self._keys.rejected:
                    _log.warning("%s: the key %r: %s", self._source, key.kid, key.reason)
        except KeyfobError as error:
            if not self._failure:
                self._changed(f"keys: {error.message}")
            self._failure = error.message
            return
        if self._failure:
            self._changed("")
        self._failure = ""
        self._absent.answered(before, _kids(self._keys), self._monotonic())
        self._backoff.reset()
        self._good_at = self._monotonic()
        self._have_keys.set()


def _kids(keys: KeySet | None) -> tuple[str | None, ...]:
    return tuple(key.kid for key in keys.keys) if keys is not None else ()

# SPDX-License-Identifier: Apache-2.0
"""Where an issuer's keys come from, and how they stay fresh (RFC 7517, RFC 8414).

No fetch is steered by a token: the address comes from the configuration or from the issuer's own
metadata, and an unknown key identifier causes at most one fetch per cooldown, whoever sends how
many. While the issuer is down the last good keys stay in use.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import httpx

from keyfob.errors import ConfigError, KeyfobError, UpstreamError
from keyfob.guard.absent_keys import AbsentKeys
from keyfob.guard.backoff import Backoff
from keyfob.guard.discovery import discover_jwks_uri
from keyfob.guard.fetching import MAX_BODY, Fetcher, require_safe
from keyfob.tokens.keys import KeySet

__all__ = [
    "FileKeySource",
    "HttpKeySource",
    "KeyHealth",
    "KeySource",
    "StaticKeySource",
]

COOLDOWN: Final = 30.0
"""Seconds between two fetches that an unknown key identifier may cause."""

MIN_FRESH: Final = 60.0
"""An issuer that says `no-store` is still asked at most once a minute unasked."""

DEFAULT_FRESH: Final = 900.0
"""Seconds between fetches where the issuer does not say, a quarter of a usual token's life; also
the longest it may say, so that a key that it withdraws is gone here soon."""

FILE_INTERVAL: Final = 10.0
"""Seconds between two looks at a key file."""

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


class KeySource(Protocol):
    """One issuer's keys."""

    @property
    def keys(self) -> KeySet | None:
        """The last good keys; None: none yet. A changed set is a new object."""

    def lacks(self, kid: str | None) -> bool:
        """Tell whether the issuer was asked for a key after it was wanted, and has none."""

    def ask_again(self, kid: str | None) -> asyncio.Future[None] | None:
        """Start a fetch, or join the one under way, from within the event loop.

        Args:
            kid: The key that is wanted; None: the token names none.

        Returns:
            What ends with the fetch, good or bad; None: the cooldown forbids one now.
        """

    def scheduled(self) -> asyncio.Future[None] | None:
        """Return what ends with a fetch that was asked for and waits for the cooldown's end."""

    async def first_keys(self) -> None:
        """Wait until there are keys."""

    async def run(self, changed: Callable[[str], None]) -> None:
        """Keep the keys fresh until cancelled.

        Args:
            changed: Told why fetching fails when it begins to, and "" when it works again.
        """

    async def aclose(self) -> None:
        """Give connections and running fetches up."""

    def health(self) -> KeyHealth:
        """Tell the state."""


def _nobody(_: str) -> None:
    """Tell nobody."""


class StaticKeySource:
    """Keys that never change."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    @property
    def keys(self) -> KeySet:
        """The keys."""
        return self._keys

    def lacks(self, kid: str | None) -> bool:  # noqa: ARG002 - whichever it is
        """Return True: there is nobody to ask."""
        return True

    def ask_again(self, kid: str | None) -> None:
        """Return None: there is nobody to ask."""

    def scheduled(self) -> None:
        """Return None: there is nobody to ask."""

    async def first_keys(self) -> None:
        """Return at once."""

    async def run(self, changed: Callable[[str], None]) -> None:
        """Return at once: nothing ages."""

    async def aclose(self) -> None:
        """Do nothing."""

    def health(self) -> KeyHealth:
        """Tell how many keys there are."""
        return KeyHealth(
            source="static",
            keys=len(self._keys.keys),
            rejected=len(self._keys.rejected),
            age=0.0,
            fresh_for=math.inf,
            failure="",
        )


class _RefreshingKeySource(ABC):
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
        """Tell whether the issuer was asked for a key after it was wanted, and has none."""
        return not self._failure and kid in self._absent

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
        self._absent.answered(before, _kids(self._keys))
        self._backoff.reset()
        self._good_at = self._monotonic()
        self._have_keys.set()


def _kids(keys: KeySet | None) -> tuple[str | None, ...]:
    return tuple(key.kid for key in keys.keys) if keys is not None else ()


class HttpKeySource(_RefreshingKeySource):
    """Keys that an issuer publishes over HTTP.

    Args:
        issuer: The issuer identifier; its metadata names the key set unless ``jwks_uri`` does.
        jwks_uri: The key set's address, when known.
        ca: CA certificates that alone are trusted for it; None: the system's.
        refresh: Seconds between fetches where the issuer's answers do not say; also the longest
            they may say.
        cooldown: Seconds between two fetches that unknown key identifiers may cause.
        monotonic: A clock that never steps.
        backoff: The delays after failures.
        transport: What carries the requests instead of the network (httpx).

    Raises:
        ConfigError: A URL that is neither https nor this machine.
    """

    def __init__(
        self,
        issuer: str,
        *,
        jwks_uri: str = "",
        ca: Path | None = None,
        refresh: float = DEFAULT_FRESH,
        cooldown: float = COOLDOWN,
        monotonic: Callable[[], float] = time.monotonic,
        backoff: Backoff | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        require_safe(jwks_uri or issuer)
        super().__init__(
            jwks_uri or issuer,
            monotonic=monotonic,
            backoff=backoff or Backoff(base=1.0, cap=min(60.0, refresh)),
            cooldown=cooldown,
        )
        self._issuer = issuer
        self._jwks_uri = jwks_uri
        self._refresh = refresh
        self._fetcher = Fetcher(ca=ca, transport=transport)

    async def aclose(self) -> None:
        """Give a running fetch up and close the connections."""
        await super().aclose()
        await self._fetcher.aclose()

    async def _document_now(self) -> tuple[bytes, float]:
        url = self._jwks_uri or await discover_jwks_uri(self._fetcher, self._issuer)
        answer = await self._fetcher.get(url)
        said = self._refresh if answer.max_age is None else max(answer.max_age, MIN_FRESH)
        return answer.body, min(said, self._refresh)


class FileKeySource(_RefreshingKeySource):
    """Keys in a file that somebody else renews; a broken file leaves the last good keys in use.

    Args:
        path: A JWK Set (RFC 7517 section 5).
        interval: Seconds between two looks at the file.
        cooldown: Seconds between two looks that unknown key identifiers may cause.
        monotonic: A clock that never steps.

    Raises:
        ConfigError: The file cannot be read or holds no key set now.
    """

    def __init__(
        self,
        path: Path,
        *,
        interval: float = FILE_INTERVAL,
        cooldown: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            str(path),
            monotonic=monotonic,
            backoff=Backoff(base=interval, cap=interval),
            cooldown=cooldown,
        )
        self._path = path
        self._interval = interval
        try:
            self._document = self._read()
            self._keys = KeySet.from_jwks(self._document)
        except KeyfobError as error:
            raise ConfigError(f"{path}: {error.message}") from error
        self._good_at = monotonic()
        self._have_keys.set()

    async def _document_now(self) -> tuple[bytes, float]:
        return await asyncio.to_thread(self._read), self._interval

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                document = file.read(MAX_BODY + 1)
        except OSError as error:
            raise UpstreamError(f"cannot be read: {error.strerror}") from error
        if len(document) > MAX_BODY:
            raise UpstreamError(f"more than {MAX_BODY} bytes", code="upstream_invalid")
        return document

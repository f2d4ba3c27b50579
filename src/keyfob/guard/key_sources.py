# SPDX-License-Identifier: Apache-2.0
"""Where an issuer's keys come from, and how they stay fresh (RFC 7517, RFC 8414).

No fetch is steered by a token: the address comes from the configuration or from the issuer's own
metadata, and an unknown key identifier causes at most one fetch per cooldown, whoever sends how
many. While the issuer is down the last good keys stay in use.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import httpx

from keyfob.errors import ConfigError, KeyfobError, UpstreamError
from keyfob.guard.backoff import Backoff
from keyfob.guard.discovery import discover_jwks_uri
from keyfob.guard.fetching import MAX_BODY, Fetcher
from keyfob.guard.refreshing_keys import DEFAULT_FRESH, KeyHealth, RefreshingKeySource
from keyfob.oauth.urls import require_safe
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

FILE_INTERVAL: Final = 10.0
"""Seconds between two looks at a key file."""


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


class HttpKeySource(RefreshingKeySource):
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


class FileKeySource(RefreshingKeySource):
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

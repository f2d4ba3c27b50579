# SPDX-License-Identifier: Apache-2.0
"""Follows an issuer's revocations: a snapshot first, then what comes, by long polling.

Theory of operation. ``GET {issuer}/oauth2/revocations?cursor=N&wait=S`` answers with what was
revoked after cursor N and with the cursor to go on from. Every connection begins at 0, with
everything that still matters: a server that was restored from a backup may give numbers out
again, and a guard that went on from its own would miss what they stand for now. The list is short,
since it holds nothing past the life of a token. Each page is on this machine's disk before the
next is asked for.

Whatever the server does (garbage, silence, refusal) the guard goes on with what it knows and asks
again, later and later.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import msgspec

from keyfob.errors import KeyfobError, UpstreamError
from keyfob.guard.backoff import Backoff
from keyfob.guard.fetching import DEADLINE, Fetcher
from keyfob.guard.revocations import FeedPosition, Revocation
from keyfob.oauth.client_authentication import ClientSecretBasic
from keyfob.oauth.urls import require_safe

__all__ = ["FeedHealth", "Learn", "RevocationFeed"]

WAIT: Final = 30.0
"""Seconds that the server holds a question without news: the most that it allows."""

PACE: Final = 1.0
"""Seconds between two answers without news, from a server that does not wait."""

_MAX_CURSOR: Final = 2**63 - 1
_PATH: Final = "/oauth2/revocations"

Learn = Callable[[Sequence[Revocation], FeedPosition], Awaitable[object]]
"""Takes a page; returns when it has taken effect and is on the disk."""

_log = logging.getLogger("keyfob.guard.revocations")


class _Row(msgspec.Struct, frozen=True):
    cursor: int
    subject: str
    issued_before: float
    until: float
    reason: str = ""
    token_id: str | None = None


class _Page(msgspec.Struct, frozen=True):
    revocations: tuple[_Row, ...]
    cursor: int
    more: bool


_decoder: Final = msgspec.json.Decoder(_Page)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedHealth:
    """The state of one feed.

    Attributes:
        issuer: The issuer identifier.
        ready: Whether everything that matters has been read since the start.
        age: Seconds since the last good answer; None: there was none.
        failure: Why the last attempt failed; empty: it did not.
    """

    issuer: str
    ready: bool
    age: float | None
    failure: str


class RevocationFeed:
    """One issuer's revocations.

    Args:
        issuer: The issuer identifier; the feed is at its ``/oauth2/revocations``.
        client_id: What the guard is registered as there.
        client_secret: Its secret.
        ca: CA certificates that alone are trusted; None: the system's.
        wait: Seconds that the server is asked to hold a question.
        backoff: The delays after failures.
        monotonic: A clock that never steps.
        transport: What carries the requests instead of the network (httpx).

    Raises:
        ConfigError: The issuer is neither https nor this machine, or there is no secret.
    """

    def __init__(
        self,
        issuer: str,
        *,
        client_id: str,
        client_secret: str,
        ca: Path | None = None,
        wait: float = WAIT,
        backoff: Backoff | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        require_safe(issuer)
        self.ready = asyncio.Event()
        self._issuer = issuer
        self._url = issuer.rstrip("/") + _PATH
        self._wait = wait
        self._backoff = backoff or Backoff(base=1.0, cap=30.0)
        self._monotonic = monotonic
        self._authentication = ClientSecretBasic(client_id=client_id, client_secret=client_secret)
        self._fetcher = Fetcher(ca=ca, transport=transport)
        self._good_at: float | None = None
        self._failure = ""

    async def run(self, learn: Learn, *, changed: Callable[[str], None]) -> None:
        """Follow the feed until cancelled.

        Args:
            learn: Takes each page.
            changed: Told why the feed fails when it begins to, and "" when it works again.
        """
        while True:
            try:
                await self._follow(learn, changed)
            except (KeyfobError, sqlite3.Error) as error:
                failure = f"revocations: {error}"
                if not self._failure:
                    changed(failure)
                self._failure = failure
            await asyncio.sleep(self._backoff.next())

    async def aclose(self) -> None:
        """Close the connections."""
        await self._fetcher.aclose()

    def health(self) -> FeedHealth:
        """Tell the state."""
        return FeedHealth(
            issuer=self._issuer,
            ready=self.ready.is_set(),
            age=None if self._good_at is None else self._monotonic() - self._good_at,
            failure=self._failure,
        )

    async def _follow(self, learn: Learn, changed: Callable[[str], None]) -> None:
        cursor, wait = 0, 0.0
        while True:
            asked_at = self._monotonic()
            page = await self._page(cursor, wait)
            if page.cursor < cursor:
                _log.warning("%s counts its revocations anew: reading all of them", self._issuer)
                cursor, wait = 0, 0.0
                continue
            if page.more and page.cursor == cursor:
                raise UpstreamError(f"{self._url}: the cursor stands", code="upstream_invalid")
            revocations = [self._revocation(row) for row in page.revocations]
            await learn(revocations, FeedPosition(issuer=self._issuer, cursor=page.cursor))
            cursor = page.cursor
            if page.more:
                wait = 0.0
                continue
            self._answered(changed)
            wait = self._wait
            if not revocations:
                await asyncio.sleep(max(0.0, asked_at + PACE - self._monotonic()))

    def _answered(self, changed: Callable[[str], None]) -> None:
        if self._failure:
            changed("")
        self._failure = ""
        self._backoff.reset()
        self._good_at = self._monotonic()
        self.ready.set()

    async def _page(self, cursor: int, wait: float) -> _Page:
        params = {"cursor": str(cursor), "wait": f"{wait:g}"}
        proof = self._authentication.prove(time.time())
        answer = await self._fetcher.get(
            self._url, params=params, headers=proof.headers, deadline=wait + DEADLINE
        )
        try:
            page = _decoder.decode(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            # The library names a path and a type, never a value.
            raise UpstreamError(f"{self._url}: {error}", code="upstream_invalid") from None
        if not 0 <= page.cursor <= _MAX_CURSOR:
            raise UpstreamError(f"{self._url}: no usable cursor", code="upstream_invalid")
        return page

    def _revocation(self, row: _Row) -> Revocation:
        # One row that is not understood refuses the page: to skip it would let its tokens in.
        try:
            return Revocation(
                issuer=self._issuer,
                subject=row.subject,
                token_id=row.token_id,
                issued_before=row.issued_before,
                until=row.until,
                reason=row.reason,
            )
        except ValueError as error:
            raise UpstreamError(f"{self._url}: {error}", code="upstream_invalid") from None

# SPDX-License-Identifier: Apache-2.0
"""Fuzzes ``guard.revocation_feed``: what an authorization server answers there."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import httpx

from fuzz import octets, pieces, trees
from fuzz.chance import Chance
from fuzz.target import BrokenInvariantError, Check, Target, demand
from keyfob.guard.revocation_feed import RevocationFeed
from keyfob.guard.revocations import FeedPosition, Revocation

__all__ = ["TARGET"]

_INVARIANT: Final = (
    "A page is learned whole, each row as it stands there, or the feed reports a failure and "
    "learns nothing; nothing else ends it."
)
_ISSUER: Final = "https://as.example"
_ROW: Final = {
    "cursor": 12,
    "subject": "dev1",
    "issued_before": 1_790_000_000.25,
    "until": 1_790_003_600,
    "reason": "disabled",
}
_PAGES: Final = tuple(
    map(
        trees.planted,
        (
            {"revocations": [], "cursor": 0, "more": False},
            {"revocations": [_ROW], "cursor": 12, "more": False},
            {
                "revocations": [_ROW, {**_ROW, "cursor": 13, "subject": "ä"}],
                "cursor": 13,
                "more": True,
            },
        ),
    )
)
_WORDS: Final = ("revocations", "cursor", "more", "subject", "issued_before", "until", "reason")
_CACHING: Final = (
    "no-store",
    "max-age=",
    "max-age=99999999999999999999",
    'max-age="5',
    "a=b,,=",
    "",
)


class _Learned(BaseException):
    """Ends the feed with the page that it has taken in."""

    def __init__(self, revocations: Sequence[Revocation], position: FeedPosition) -> None:
        super().__init__()
        self.revocations = revocations
        self.position = position


class _Failed(BaseException):
    """Ends the feed with the failure that it reports."""


async def _learn(revocations: Sequence[Revocation], position: FeedPosition) -> NoReturn:
    raise _Learned(revocations, position)


def _changed(failure: str) -> None:
    raise _Failed(failure)


def make(chance: Chance) -> bytes:
    """Draw an answer of the server."""
    tree = trees.changed(chance, chance.one(_PAGES), _WORDS)
    body = trees.spelled(chance, tree).encode("utf-8")
    if chance.often(0.3):
        body = octets.changed(chance, body, (b'"', b"\\ud800", b"\0", b"1e999", b"{", b"["))
    status = 200 if chance.often(0.95) else chance.one((204, 206, 302, 401, 429, 500))
    return pieces.pack(status, chance.one(_CACHING), body.decode("latin-1"))


@contextmanager
def _opened() -> Iterator[Check]:
    answer: list[Any] = []

    def serve(_: httpx.Request) -> httpx.Response:
        status, caching, body = answer
        return httpx.Response(
            status, content=body.encode("latin-1"), headers={"Cache-Control": caching}
        )

    # One feed for all inputs: making it ready for TLS takes longer than thousands of them.
    feed = RevocationFeed(
        _ISSUER,
        client_id="guard",
        client_secret="secret",  # noqa: S106 - a sample
        transport=httpx.MockTransport(serve),
    )
    with asyncio.Runner() as runner:

        async def follow() -> str:
            try:
                await feed.run(_learn, changed=_changed)
            except _Failed as failed:
                demand(_ISSUER in str(failed), "the failure does not name the feed")
                return "refused"
            except _Learned as learned:
                _check(learned, answer[2].encode("latin-1"))
                return "learned"
            raise BrokenInvariantError("the feed has ended")

        def check(data: bytes) -> str:
            answer[:] = pieces.unpack(data)
            return runner.run(follow())

        yield check
        runner.run(feed.aclose())


def _check(learned: _Learned, body: bytes) -> None:
    # What the feed does not look at need not be UTF-8.
    page = json.loads(body.decode("utf-8", "replace"), parse_int=_whole)
    demand(learned.position == FeedPosition(issuer=_ISSUER, cursor=page["cursor"]), "the cursor")
    rows = page["revocations"]
    demand(len(learned.revocations) == len(rows), "a row is lost")
    for row, revocation in zip(rows, learned.revocations, strict=True):
        demand(revocation.issuer == _ISSUER, "another issuer's tokens")
        demand(revocation.subject == row["subject"] != "", "another subject")
        times = (revocation.issued_before, revocation.until)
        demand(times == (float(row["issued_before"]), float(row["until"])), "another time")
        demand(all(map(math.isfinite, map(float, (row["until"], row["issued_before"])))), "no time")
        demand(revocation.client_id is None and revocation.token_id is None, "narrower")


def _whole(digits: str) -> int:
    """Read a number; Python itself refuses those that are long beyond any use."""
    return int(digits) if len(digits) < 400 else 0


TARGET = Target(name="revocation-pages", invariant=_INVARIANT, make=make, open=_opened, share=3)

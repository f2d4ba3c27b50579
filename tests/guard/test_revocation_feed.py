# SPDX-License-Identifier: Apache-2.0
"""The feed is read from its beginning, followed, and survived."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from keyfob.errors import ConfigError
from keyfob.guard.backoff import Backoff
from keyfob.guard.revocation_feed import RevocationFeed
from keyfob.guard.revocations import FeedPosition, Revocation
from tests.guard.world import NOW, Clock, HttpServer, until

pytestmark = pytest.mark.anyio

PATH = "/oauth2/revocations"
PAGE = b'{"revocations":[%b],"cursor":1,"more":false}'


@dataclass
class Learned:
    """What a guard was taught, and what it was told of the feed's state."""

    revocations: list[Revocation] = field(default_factory=list)
    cursors: list[int] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    async def learn(self, revocations: Sequence[Revocation], position: FeedPosition) -> None:
        if self.failures:
            raise self.failures.pop()
        self.revocations += revocations
        self.cursors.append(position.cursor)

    @property
    def subjects(self) -> list[str | None]:
        return [each.subject for each in self.revocations]


@dataclass
class FeedServer:
    """The server's end: rows by cursor, in pages, held back while there is nothing new."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    page: int = 1000
    tells_all: bool = True
    news: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[int, float]] = field(default_factory=list)

    def add(self, *subjects: str) -> None:
        for subject in subjects:
            self.rows.append(row(len(self.rows) + 1, subject))
        self.news.set()

    async def handle(self, writer: asyncio.StreamWriter, target: str) -> None:
        query = parse_qs(urlsplit(target).query)
        cursor, wait = int(query["cursor"][0]), float(query["wait"][0])
        self.asked.append((cursor, wait))
        self.news.clear()
        if wait and not self.after(cursor) and cursor <= len(self.rows):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), wait)
        # A cursor that it never gave out gets everything, or nothing but a lower cursor.
        stray = cursor > len(self.rows)
        found = self.rows if stray and self.tells_all else self.after(cursor)
        last = found[: self.page][-1]["cursor"] if found else min(cursor, len(self.rows))
        body = json.dumps(
            {
                "revocations": found[: self.page],
                "cursor": last,
                "more": len(found) > self.page,
            }
        ).encode()
        writer.write(b"HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    def after(self, cursor: int) -> list[dict[str, Any]]:
        return [each for each in self.rows if each["cursor"] > cursor]


def row(cursor: int, subject: str, **changes: Any) -> dict[str, Any]:
    values = {
        "cursor": cursor,
        "subject": subject,
        "issued_before": NOW + 0.25,
        "until": NOW + 3600,
        "reason": "disabled",
    }
    return {**values, **changes}


@pytest.fixture
def learned() -> Learned:
    return Learned()


@pytest.fixture
def server(http: HttpServer) -> FeedServer:
    served = FeedServer()
    http.routes[PATH] = served.handle
    return served


def feed_of(http: HttpServer, **changes: Any) -> RevocationFeed:
    values: dict[str, Any] = {
        "client_id": "guard",
        "client_secret": "s3cret",
        "backoff": Backoff(base=1.0, cap=1.0, jitter=lambda _: 0.001),
    }
    return RevocationFeed(http.url, **{**values, **changes})


@contextlib.asynccontextmanager
async def following(feed: RevocationFeed, learned: Learned) -> AsyncIterator[None]:
    task = asyncio.create_task(feed.run(learned.learn, changed=learned.changes.append))
    try:
        yield
        assert not task.done(), task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await feed.aclose()


async def test_the_snapshot_is_read_whole_before_the_feed_is_ready(
    http: HttpServer, server: FeedServer, learned: Learned
) -> None:
    server.page = 2
    server.add("a", "b", "c", "d", "e")
    feed = feed_of(http)
    async with following(feed, learned):
        await feed.ready.wait()
        assert learned.subjects == ["a", "b", "c", "d", "e"]
    assert server.asked[:3] == [(0, 0.0), (2, 0.0), (4, 0.0)]
    assert learned.cursors[:3] == [2, 4, 5]
    expected = Revocation(
        issuer=http.url,
        subject="a",
        issued_before=NOW + 0.25,
        until=NOW + 3600,
        reason="disabled",
    )
    assert learned.revocations[0] == expected


async def test_a_row_with_a_token_id_means_that_token_only(
    http: HttpServer, server: FeedServer, learned: Learned
) -> None:
    server.rows = [row(1, "a", token_id="t1", reason="revoked"), row(2, "a", token_id=None)]
    feed = feed_of(http)
    async with following(feed, learned):
        await feed.ready.wait()
    one, every = learned.revocations
    assert (one.subject, one.token_id, every.token_id) == ("a", "t1", None)
    token: dict[str, Any] = {"issuer": http.url, "subject": "a", "client": "a", "issued_at": NOW}
    assert one.concerns(token_id="t1", **token)
    assert not one.concerns(token_id="t2", **token)
    assert every.concerns(token_id="t2", **token)


async def test_an_empty_snapshot_makes_ready_too(
    http: HttpServer, server: FeedServer, learned: Learned
) -> None:
    feed = feed_of(http)
    assert not feed.health().ready
    async with following(feed, learned):
        await feed.ready.wait()
    assert feed.health().ready
    assert (learned.revocations, learned.changes) == ([], [])


async def test_news_arrives_by_long_polling(
    http: HttpServer, server: FeedServer, learned: Learned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfob.guard.revocation_feed.PACE", 0.0)
    feed = feed_of(http)
    async with following(feed, learned):
        await until(lambda: len(server.asked) == 2)
        server.add("a")
        await until(lambda: learned.subjects == ["a"])
        await until(lambda: len(server.asked) == 3)
        server.add("b", "c")
        await until(lambda: learned.subjects == ["a", "b", "c"])
    assert server.asked[:3] == [(0, 0.0), (0, 30.0), (1, 30.0)]


async def test_credentials_are_form_encoded_in_http_basic(
    http: HttpServer, server: FeedServer, learned: Learned
) -> None:
    """RFC 6749 section 2.3.1, with what a naive client gets wrong: a colon, a plus, a space."""
    feed = feed_of(http, client_id="gu:ard", client_secret="a+b c%/é")
    async with following(feed, learned):
        await feed.ready.wait()
    scheme, _, encoded = http.headers[0]["authorization"].partition(" ")
    assert scheme == "Basic"
    assert base64.b64decode(encoded) == b"gu%3Aard:a%2Bb+c%25%2F%C3%A9"
    assert "s3cret" not in repr(feed_of(http))


async def test_tls_is_verified_with_the_given_ca(
    https: HttpServer, certificates: Path, learned: Learned
) -> None:
    served = FeedServer()
    https.routes[PATH] = served.handle
    feed = feed_of(https, ca=certificates / "ca.pem")
    async with following(feed, learned):
        await feed.ready.wait()
    stranger = feed_of(https)
    async with following(stranger, learned):
        await until(lambda: learned.changes)
    assert "CERTIFICATE_VERIFY_FAILED" in learned.changes[0]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"revocations":[],"cursor":0}',
        b'{"revocations":[],"cursor":-1,"more":false}',
        b'{"revocations":[],"cursor":9223372036854775808,"more":false}',
        b'{"revocations":[],"cursor":true,"more":false}',
        b'{"revocations":[],"cursor":0,"more":true}',
        b'{"revocations":{},"cursor":0,"more":false}',
        b'{"revocations":[7],"cursor":0,"more":false}',
        PAGE % b'{"cursor":1,"subject":"","issued_before":1,"until":2}',
        PAGE % b'{"cursor":1,"subject":"a","issued_before":"1","until":2}',
        PAGE % b'{"cursor":1,"subject":"a","issued_before":NaN,"until":2}',
        PAGE % b'{"cursor":1,"subject":"a","issued_before":1,"until":1e999}',
        PAGE % b'{"cursor":1,"subject":"\\ud800","issued_before":1,"until":2}',
        PAGE % b'{"cursor":1,"subject":"a"}',
        PAGE % b'{"cursor":1,"subject":"a","issued_before":1,"until":2,"token_id":""}',
        PAGE % b'{"cursor":1,"subject":"a","issued_before":1,"until":2,"token_id":7}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"x" * 2_000_000,
    ],
)
async def test_garbage_is_survived_and_told(
    http: HttpServer, server: FeedServer, learned: Learned, body: bytes
) -> None:
    """Neither a crash nor a guess: not ready, nothing learned, and well again afterwards."""
    http.answer(PATH, body)
    feed = feed_of(http)
    async with following(feed, learned):
        await until(lambda: http.count(PATH) >= 3)
        assert not feed.ready.is_set()
        assert len(learned.changes) == 1
        assert feed.health().failure == learned.changes[0]
        assert learned.revocations == []
        server.add("a")
        http.routes[PATH] = server.handle
        await feed.ready.wait()
        assert learned.changes[1:] == [""]
        assert (feed.health().failure, learned.subjects) == ("", ["a"])


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
async def test_a_refusal_is_told_with_its_status(
    http: HttpServer, learned: Learned, status: int
) -> None:
    http.answer(PATH, b"", status=status)
    async with following(feed_of(http), learned):
        await until(lambda: learned.changes)
    assert f"answered {status}" in learned.changes[0]
    assert "s3cret" not in learned.changes[0]


async def test_after_a_failure_everything_is_read_anew(
    http: HttpServer, server: FeedServer, learned: Learned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may have been restored meanwhile, and give its numbers out again."""
    monkeypatch.setattr("keyfob.guard.revocation_feed.PACE", 0.0)
    server.add("a", "b", "c")
    feed = feed_of(http, wait=0.001)
    async with following(feed, learned):
        await feed.ready.wait()
        http.answer(PATH, b"", status=503)
        await until(lambda: learned.changes)
        server.rows = [row(1, "a"), row(2, "x"), row(3, "y"), row(4, "z")]
        server.asked.clear()
        http.routes[PATH] = server.handle
        await until(lambda: learned.subjects[3:] == ["a", "x", "y", "z"])
    assert server.asked[0] == (0, 0.0)


@pytest.mark.parametrize("tells_all", [True, False])
async def test_a_cursor_that_goes_backwards_makes_it_read_from_the_beginning(
    http: HttpServer,
    server: FeedServer,
    learned: Learned,
    tells_all: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("keyfob.guard.revocation_feed.PACE", 0.0)
    server.tells_all = tells_all
    server.add("a", "b", "c")
    feed = feed_of(http, wait=0.001)
    async with following(feed, learned):
        await feed.ready.wait()
        server.rows = [row(1, "x")]
        await until(lambda: "x" in learned.subjects)
        server.add("y")
        await until(lambda: "y" in learned.subjects)
    assert learned.subjects == ["a", "b", "c", "x", "y"]
    assert learned.changes == []


async def test_a_page_that_could_not_be_kept_is_asked_for_again(
    http: HttpServer, server: FeedServer, learned: Learned
) -> None:
    server.add("a")
    learned.failures = [sqlite3.OperationalError("disk I/O error")]
    feed = feed_of(http)
    async with following(feed, learned):
        await feed.ready.wait()
    assert learned.subjects == ["a"]
    assert "disk I/O error" in learned.changes[0]
    assert learned.changes[1] == ""


async def test_health_tells_the_age_of_the_last_answer(
    http: HttpServer, server: FeedServer, learned: Learned, clock: Clock
) -> None:
    feed = feed_of(http, monotonic=clock)
    assert feed.health().age is None
    async with following(feed, learned):
        await feed.ready.wait()
        clock.now += 7
        assert feed.health().age == 7.0


async def test_an_issuer_that_may_not_be_fetched_is_refused_at_once() -> None:
    with pytest.raises(ConfigError):
        RevocationFeed("http://as.example", client_id="guard", client_secret="s")

# SPDX-License-Identifier: Apache-2.0
"""The numbers of several workers are one guard's, and asking for them costs the workers little."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import pytest

from keyfob.guard.audit import AuditEvent, AuditLog, Outcome
from keyfob.guard.breaker import BreakerState
from keyfob.guard.figures import Figures, figures_of
from keyfob.guard.gathered import FRESH, Gathered
from keyfob.guard.health import GuardHealth
from keyfob.guard.histogram import Histogram
from keyfob.guard.http_health import not_ready
from keyfob.guard.introspection import IntrospectionHealth
from keyfob.guard.session import SessionState
from tests.guard.world import ISSUER, NOW, Clock, guard

pytestmark = pytest.mark.anyio

ASKED = IntrospectionHealth(
    source=ISSUER, breaker=BreakerState.CLOSED, latency=0.1, failure="", questions=5, failures=1,
    unasked=2, hits=3, misses=7, active=1, refused=1, waiting=0,
)  # fmt: skip


def health(**changes: object) -> GuardHealth:
    return replace(guard().health(), **changes)  # type: ignore[arg-type]


def counted(*reasons: str) -> AuditLog:
    log = AuditLog()
    for reason in reasons:
        outcome = Outcome.REFUSED if reason else Outcome.ALLOWED
        log.record(AuditEvent(time=NOW, outcome=outcome, issuer=ISSUER, reason=reason))
    return log


def worker(log: AuditLog, told: GuardHealth, *seconds: float) -> bytes:
    latency = Histogram()
    for each in seconds:
        latency.observe(each)
    return msgspec.msgpack.encode(figures_of(told, log, latency, [("mosquitto", "2.0.0")]))


async def gathered(*answers: bytes, workers: int = 2, own: GuardHealth | None = None) -> Gathered:
    async def ask() -> Mapping[int, bytes]:
        return dict(enumerate(answers))

    made = Gathered(workers, ask=ask, own=lambda: own or health(), audit=counted("token_revoked"))
    await made.refresh()
    return made


def test_figures_travel_whole() -> None:
    told = health(session_states={("b1", SessionState.ONLINE): 3}, introspection={ISSUER: ASKED})
    figures = figures_of(told, counted("token_expired", ""), Histogram(), [("b1", "2.1.0")])
    encoded = msgspec.msgpack.encode(figures)
    assert msgspec.msgpack.decode(encoded, type=Figures) == figures


async def test_counts_of_the_lead_and_of_every_worker_add_up() -> None:
    made = await gathered(
        worker(counted("token_expired", ""), health()), worker(counted("token_expired"), health())
    )
    assert made.counts == {
        (ISSUER, Outcome.REFUSED, "token_expired"): 2,
        (ISSUER, Outcome.ALLOWED, ""): 1,
        (ISSUER, Outcome.REFUSED, "token_revoked"): 1,
    }


async def test_times_add_up_bucket_by_bucket() -> None:
    made = await gathered(
        worker(counted(), health(), 0.000_02, 3.0), worker(counted(), health(), 0.000_03)
    )
    latency = made.latency
    assert (latency.counts[0], sum(latency.counts)) == (2, 3)
    assert latency.sum == pytest.approx(3.000_05)


async def test_no_counter_falls_when_a_worker_ends_or_is_late() -> None:
    """Prometheus would count all that is left once more."""
    asked = health(introspection={ISSUER: ASKED}, cache_hits=9)
    one = worker(counted("token_expired", ""), asked, 0.1)
    fewer = msgspec.structs.replace(
        figures_of(health(introspection={ISSUER: ASKED}), counted(""), Histogram(), []), run="2"
    )
    answers = {0: one, 1: worker(counted(""), asked)}
    clock = Clock()

    async def ask() -> Mapping[int, bytes]:
        return answers

    made = Gathered(2, ask=ask, own=health, audit=AuditLog(), monotonic=clock)
    told = []
    for now in (one, None, one, msgspec.msgpack.encode(fewer)):
        answers = {**answers, 0: now} if now else {1: answers[1]}
        clock.now += FRESH
        await made.refresh()
        state = made.health()
        questions = state.introspection[ISSUER].questions
        told.append(
            (sum(made.counts.values()), made.latency.cumulative[-1], state.cache_hits, questions)
        )
        assert state.missing_workers == (now is None)
    assert told == [(3, 1, 18, 10), (3, 1, 18, 10), (3, 1, 18, 10), (4, 1, 18, 15)]


async def test_a_broker_that_is_linked_to_every_worker_is_one() -> None:
    made = await gathered(worker(counted(), health()), worker(counted(), health()))
    assert list(made.links()) == [("mosquitto", "2.0.0")]


async def test_the_state_is_that_of_the_worst_worker() -> None:
    fresh = guard().health().keys[ISSUER]
    never = replace(fresh, age=None, keys=0)
    online = {("b1", SessionState.ONLINE): 2}
    made = await gathered(
        worker(counted(), health(session_states=online, sessions=2, introspection={ISSUER: ASKED})),
        worker(
            counted(),
            health(
                keys={ISSUER: never},
                session_states=online,
                sessions=2,
                storage_failure="the disk is full",
                introspection={
                    ISSUER: replace(ASKED, breaker=BreakerState.OPEN, failure="no answer")
                },
            ),
        ),
        own=health(keys={}, audit_dropped=1),
    )
    told = made.health()
    assert told.keys == {ISSUER: never}
    assert told.session_states == {("b1", SessionState.ONLINE): 4}
    assert (told.sessions, told.audit_dropped) == (4, 1)
    assert told.storage_failure == "the disk is full"
    asked = told.introspection[ISSUER]
    assert (asked.questions, asked.breaker, asked.failure) == (10, BreakerState.OPEN, "no answer")
    assert [reason.reason for reason in not_ready(told)] == ["keys_missing", "storage_failing"]


async def test_a_worker_that_does_not_answer_makes_the_guard_unready() -> None:
    made = await gathered(worker(counted(), health()))
    assert [reason.reason for reason in not_ready(made.health())] == ["workers_missing"]


async def test_workers_are_asked_once_however_many_want_to_know() -> None:
    clock, asked = Clock(), 0

    async def ask() -> dict[int, bytes]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return {}

    gathered = Gathered(2, ask=ask, own=guard().health, audit=AuditLog(), monotonic=clock)
    await asyncio.gather(*(gathered.refresh() for _ in range(50)))
    assert asked == 1
    assert gathered.health().missing_workers == 2
    clock.now += FRESH
    await gathered.refresh()
    assert asked == 2

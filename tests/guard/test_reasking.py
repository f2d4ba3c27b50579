# SPDX-License-Identifier: Apache-2.0
"""Every live session is asked about within the interval, and by nobody once it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keyfob.guard.introspection import Introspector
from keyfob.guard.introspection_answers import Active, Introspection, Refused, Unavailable
from keyfob.guard.reasking import AT_ONCE, Reasking, Schedule, Watched
from keyfob.oauth.client_authentication import ClientSecretBasic
from keyfob.tokens.verify import VerifiedToken, verify_introspected
from tests.guard.world import NOW, Clock, HttpServer, trusted, until

INTERVAL = 60.0
REFUSED = Refused(code="token_inactive", message="it is not active")
keys = st.sampled_from(["a", "b", "c", "d"])


def active(exp: float = NOW + 3600, scope: str = "mqtt.connect") -> Active:
    members = {"sub": "dev1", "aud": "mqtt", "exp": exp, "scope": scope}
    token = verify_introspected(members, trusted(introspect="opaque"), NOW)
    return Active(token=token, presented=None)


def watched(key: str = "a", until: float = 1e9) -> Watched[str]:
    return Watched(key, f"token of {key}".encode(), None, until)


# The plan


@given(seed=st.integers(), count=st.integers(1, 50))
def test_each_is_asked_about_within_the_interval_again_and_again(seed: int, count: int) -> None:
    tested: Schedule[str] = Schedule(INTERVAL, jitter=lambda x: random.Random(seed).uniform(0, x))
    last = {str(number): 0.0 for number in range(count)}
    for key in last:
        assert 0 <= tested.watch(watched(key), 0.0) <= INTERVAL
    for now in range(1, 300):
        for each in tested.due(float(now), count):
            assert now - last[each.key] <= INTERVAL + 1
            last[each.key] = now
            assert 0 < tested.again(each, float(now)) <= INTERVAL
    assert all(now > 300 - INTERVAL - 1 for now in last.values())


@given(seed=st.integers(), times=st.lists(st.floats(0.0, INTERVAL), min_size=1, max_size=9))
def test_however_often_it_is_planned_anew_nothing_is_put_off(seed: int, times: list[float]) -> None:
    """A reload makes a new plan; the interval is the longest that a revoked token lives on."""
    chance = random.Random(seed)
    plan: Schedule[str] = Schedule(INTERVAL, jitter=lambda x: chance.uniform(0, x))
    due = plan.watch(watched(), 0.0)
    for now in sorted(times):
        if now > due:
            break
        planned, plan = plan.clear(), Schedule(INTERVAL, jitter=lambda x: chance.uniform(0, x))
        for each, at in planned.items():
            assert at == pytest.approx(due)
            due = now + plan.watch(each, now, by=at)
            assert due <= at + 1e-9
    assert len(plan.due(INTERVAL + 1e-9, 1)) == 1


def test_a_fleet_that_came_at_once_is_not_asked_about_at_once() -> None:
    tested: Schedule[str] = Schedule(INTERVAL)
    for number in range(6000):
        tested.watch(watched(str(number)), 0.0)
    per_second = [len(tested.due(float(now), 6000)) for now in range(1, 61)]
    assert sum(per_second) == 6000
    assert max(per_second) < 200


def test_what_is_overdue_the_longest_comes_first_and_no_more_than_asked_for() -> None:
    jitters = iter([50.0, 10.0, 30.0])
    tested: Schedule[str] = Schedule(INTERVAL, jitter=lambda _: next(jitters))
    for key in "abc":
        tested.watch(watched(key), 0.0)
    assert [each.key for each in tested.due(100.0, 2)] == ["a", "c"]
    assert [each.key for each in tested.due(100.0, 2)] == ["b"]
    assert tested.due(100.0, 2) == []


def test_a_token_that_has_expired_is_dropped_unasked() -> None:
    tested: Schedule[str] = Schedule(INTERVAL)
    tested.watch(watched(until=30.0), 0.0)
    assert tested.due(60.0, 9) == []
    assert len(tested) == 0


def test_there_is_room_for_so_many() -> None:
    tested: Schedule[str] = Schedule(INTERVAL, size=2)
    for key in "abc":
        assert tested.watch(watched(key), 0.0) <= INTERVAL
    assert {each.key for each in tested.due(60.0, 9)} == {"a", "b"}
    tested.forget("a")
    tested.watch(watched("c"), 0.0)
    assert {each.key for each in tested.due(60.0, 9)} == {"c"}


def test_a_forgotten_token_does_not_stay_in_memory() -> None:
    tested: Schedule[str] = Schedule(INTERVAL)
    for number in range(10_000):
        tested.watch(watched(str(number % 10)), 0.0)
    assert len(tested) == 10
    assert len(tested._queue) < 100


class Plan(RuleBasedStateMachine):
    """Sessions come, renew their tokens and go, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.tested: Schedule[str] = Schedule(INTERVAL, size=3)
        self.now = 0.0
        self.live: dict[str, tuple[Watched[str], float]] = {}

    @rule(key=keys, life=st.floats(1.0, 500.0))
    def watch(self, key: str, life: float) -> None:
        self.live.pop(key, None)
        new = watched(key, self.now + life)
        delay = self.tested.watch(new, self.now)
        if len(self.live) < 3:
            self.live[key] = (new, self.now + delay)

    @rule(key=keys)
    def forget(self, key: str) -> None:
        self.live.pop(key, None)
        self.tested.forget(key)

    @rule(seconds=st.floats(0.0, 2 * INTERVAL), limit=st.integers(1, 4))
    def ask(self, seconds: float, limit: int) -> None:
        self.now += seconds
        expected = {key for key, (_, at) in self.live.items() if at <= self.now}
        alive = {key for key in expected if self.live[key][0].until > self.now}
        found = self.tested.due(self.now, limit)
        assert {each.key for each in found} <= alive
        assert len(found) == min(limit, len(alive))
        for each in found:
            assert self.live[each.key][0] is each
            assert self.tested.current(each)
            self.live[each.key] = (each, self.now + self.tested.again(each, self.now))
        for key in expected - alive:
            # An expired one goes when it comes up, which a limit may put off.
            if not self.tested.current(self.live[key][0]):
                del self.live[key]

    @invariant()
    def it_watches_who_is_live(self) -> None:
        assert len(self.tested) == len(self.live)
        assert all(self.tested.current(each) for each, _ in self.live.values())


TestPlan = Plan.TestCase
TestPlan.settings = settings(max_examples=100, stateful_step_count=40)


# Carried out


@dataclass
class Issuer:
    """An issuer's side without a network: says what a test lets it say, when it lets it."""

    answers: dict[bytes, Introspection] = field(default_factory=dict)
    asked: Counter[bytes] = field(default_factory=Counter)
    gate: asyncio.Event | None = None
    out: int = 0
    most: int = 0

    def ask(
        self, token: bytes, *, presented: VerifiedToken | None = None, known: bool = False
    ) -> asyncio.Future[Introspection]:
        assert known
        assert presented is None
        return asyncio.ensure_future(self._answer(token))

    async def _answer(self, token: bytes) -> Introspection:
        self.asked[token] += 1
        self.out += 1
        self.most = max(self.most, self.out)
        if self.gate is not None:
            await self.gate.wait()
        self.out -= 1
        return self.answers.get(token, Unavailable(reason="it is silent"))


@dataclass
class Told:
    """What a guard is told, in order."""

    heard: list[tuple[str, Introspection, float | None]] = field(default_factory=list)
    fails: bool = False

    def __call__(self, key: str, answer: Introspection, ask_in: float | None) -> None:
        if self.fails:
            raise ValueError("not now")
        self.heard.append((key, answer, ask_in))


def plan(issuer: Issuer, clock: Clock) -> Reasking[str]:
    return Reasking(
        issuer, INTERVAL, clock=clock, monotonic=clock, jitter=lambda _: 0.0, tick=0.001
    )


@contextlib.asynccontextmanager
async def running(tested: Reasking[str], told: Callable[..., None]) -> AsyncIterator[None]:
    task = asyncio.create_task(tested.run(told))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.anyio
async def test_a_live_session_is_asked_about_until_its_token_is_revoked(clock: Clock) -> None:
    issuer, told = Issuer({b"t": active()}), Told()
    tested = plan(issuer, clock)
    assert tested.watch("s", b"t", active()) == INTERVAL
    async with running(tested, told):
        for number in range(1, 4):
            clock.now += INTERVAL
            await until(lambda number=number: len(told.heard) == number)  # type: ignore[misc]
        issuer.answers[b"t"] = REFUSED
        clock.now += INTERVAL
        await until(lambda: len(told.heard) == 4)
        clock.now += INTERVAL
        await asyncio.sleep(0.02)
    assert [key for key, _, _ in told.heard] == ["s"] * 4
    assert [ask_in for _, _, ask_in in told.heard] == [INTERVAL] * 3 + [None]
    assert told.heard[-1][1] is REFUSED
    assert issuer.asked[b"t"] == 4
    assert len(tested) == 0


@pytest.mark.anyio
async def test_a_session_outlasts_an_issuer_that_is_silent(clock: Clock) -> None:
    """It ends by its own expiry, and until then it is asked about again."""
    issuer, told = Issuer(), Told()
    tested = plan(issuer, clock)
    tested.watch("s", b"t", active(NOW + 2.5 * INTERVAL))
    async with running(tested, told):
        for number in range(1, 3):
            clock.now += INTERVAL
            await until(lambda number=number: len(told.heard) == number)  # type: ignore[misc]
        clock.now += INTERVAL
        await until(lambda: len(tested) == 0)
    assert all(isinstance(answer, Unavailable) for _, answer, _ in told.heard)
    assert issuer.asked[b"t"] == 2


@pytest.mark.anyio
async def test_an_answer_that_comes_too_late_is_nobodys(clock: Clock) -> None:
    """The session has a new token meanwhile, or is gone: the old token's end is not its end."""
    issuer, told = Issuer({b"old": REFUSED, b"gone": REFUSED}, gate=asyncio.Event()), Told()
    assert issuer.gate is not None
    tested = plan(issuer, clock)
    tested.watch("renewed", b"old", active())
    tested.watch("ended", b"gone", active())
    async with running(tested, told):
        clock.now += INTERVAL
        await until(lambda: issuer.out == 2)
        tested.watch("renewed", b"new", active())
        tested.forget("ended")
        issuer.gate.set()
        await until(lambda: issuer.out == 0)
        await asyncio.sleep(0.02)
    assert told.heard == []
    assert len(tested) == 1


@pytest.mark.anyio
async def test_what_is_asked_when_the_plan_changes_hands_is_asked_again_at_once(
    clock: Clock,
) -> None:
    """Its answer is nobody's, and the session must not wait another interval for the next."""
    issuer = Issuer(gate=asyncio.Event())
    before, after, told = plan(issuer, clock), plan(issuer, clock), Told()
    before.watch("a", b"token", active())
    clock.now += INTERVAL
    async with running(before, told):
        await until(lambda: issuer.out == 1)
        after.take_over(before)
        assert len(before) == 0
        async with running(after, told):
            await until(lambda: issuer.asked[b"token"] == 2)
    assert told.heard == []


@pytest.mark.anyio
async def test_only_some_are_asked_about_at_a_time_and_all_in_the_end(clock: Clock) -> None:
    issuer, told = Issuer(gate=asyncio.Event()), Told()
    assert issuer.gate is not None
    tested = plan(issuer, clock)
    for number in range(100):
        tested.watch(str(number), b"%d" % number, active())
    async with running(tested, told):
        clock.now += INTERVAL
        await until(lambda: issuer.out == AT_ONCE)
        await asyncio.sleep(0.02)
        assert issuer.most == AT_ONCE
        issuer.gate.set()
        await until(lambda: len(told.heard) == 100)
    assert issuer.most == AT_ONCE
    assert set(issuer.asked.values()) == {1}


@pytest.mark.anyio
async def test_an_answer_that_could_not_be_taken_is_told_again(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    issuer, told = Issuer({b"t": REFUSED}), Told(fails=True)
    tested = plan(issuer, clock)
    tested.watch("s", b"t", active())
    async with running(tested, told):
        clock.now += INTERVAL
        await until(lambda: "was not taken" in caplog.text)
        told.fails = False
        clock.now += INTERVAL
        await until(lambda: told.heard)
    assert told.heard == [("s", REFUSED, None)]


@pytest.mark.anyio
async def test_a_life_that_the_issuer_prolongs_is_followed(clock: Clock) -> None:
    issuer, told = Issuer({b"t": active(NOW + 10 * INTERVAL)}), Told()
    tested = plan(issuer, clock)
    tested.watch("s", b"t", active(NOW + 1.5 * INTERVAL))
    async with running(tested, told):
        for number in range(1, 4):
            clock.now += INTERVAL
            await until(lambda number=number: len(told.heard) == number)  # type: ignore[misc]
    assert len(told.heard) == 3


@pytest.mark.anyio
async def test_a_revocation_at_a_real_server_reaches_a_live_session(
    http: HttpServer, clock: Clock
) -> None:
    revoked, told = False, Told()

    async def introspect(writer: asyncio.StreamWriter, _: str) -> None:
        good = b'{"active":true,"sub":"dev1","aud":"mqtt","exp":2000000000,"scope":"mqtt.connect"}'
        body = b'{"active":false}' if revoked else good
        writer.write(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    http.routes["/i"] = introspect
    introspector = Introspector(
        trusted(introspect="opaque"),
        ClientSecretBasic(client_id="guard", client_secret="x"),
        endpoint=f"{http.url}/i",
        clock=clock,
        monotonic=clock,
    )
    token = b"opaque-token-0123456789"
    answer = await introspector.ask(token)
    assert isinstance(answer, Active)
    tested: Reasking[str] = Reasking(
        introspector, INTERVAL, clock=clock, monotonic=clock, tick=0.001
    )
    tested.watch("s", token, answer)
    async with running(tested, told):
        clock.now += INTERVAL
        await until(lambda: len(told.heard) == 1)
        assert isinstance(told.heard[0][1], Active)
        revoked = True
        clock.now += INTERVAL
        await until(lambda: len(told.heard) == 2)
        # Who comes with the token now finds the answer, without a question.
        assert introspector.find(introspector.digest(token), clock()) == told.heard[1][1]
    assert isinstance(told.heard[1][1], Refused)
    await introspector.aclose()


def test_a_watched_token_is_not_shown() -> None:
    assert "token of a" not in repr(watched())

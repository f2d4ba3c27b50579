# SPDX-License-Identifier: Apache-2.0
"""Records: found, ordered by deadline, bounded, as a model in Python has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.authorization.permissions import Operation, Permissions, Rule
from keyfob.mqtt.topics import TopicFilter
from tests.brokers.mosquitto.plugin import frames
from tests.brokers.mosquitto.plugin.runner import Runner

ONLINE, ENDED, OFFLINE, REVOKED = range(4)
NONE, UNKEPT_ONES, DOUBTFUL, STORED, REVOKED_ONES, CLOSING, KICKS = range(7)
COUNTED = (UNKEPT_ONES, DOUBTFUL, STORED, REVOKED_ONES)  # towards the limit, evicted in this order
CLEAN, DROPPED, UNKEPT = 1, 2, 4
MOST_UNKEPT = 4096

ALLOWED = frames.permissions(
    Permissions.allow_only([Rule(operations=Operation(3), filter=TopicFilter.parse("a/#"))])
)

bounded = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@dataclass(frozen=True)
class Entry:
    epoch: int
    state: int
    client: int
    deadline: int
    flags: int
    expires_at: int
    place: int = NONE
    since: int = 0  # when it came into its list

    @property
    def waits(self) -> bool:
        """Whether its deadline is waited for."""
        return self.state == ONLINE


class Model:
    """What records.c does, without a thought for speed."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.entries: dict[str, Entry] = {}
        self.evicted: list[str] = []
        self._clock = count()

    def put(self, name: str, entry: Entry) -> None:
        self.entries[name] = entry
        if entry.state != ONLINE:
            self._shelve(name)

    def drop(self, name: str) -> None:
        del self.entries[name]

    def hasten(self, name: str) -> None:
        if self.entries[name].waits:
            self._change(name, deadline=-(2**63))

    def expire(self, name: str) -> None:
        if self.entries[name].waits:
            self._change(name, state=ENDED)

    def revoke(self, name: str) -> None:
        entry = self.entries[name]
        self._change(name, state=REVOKED)
        if entry.client and entry.place == NONE:
            self._into(name, KICKS)
        elif entry.place in (DOUBTFUL, STORED):
            self._into(name, REVOKED_ONES)

    def disconnect(self, name: str) -> None:
        entry = self.entries[name]
        self._change(name, client=0, state=REVOKED if entry.state == REVOKED else OFFLINE)
        self._shelve(name)

    def kick(self) -> str:
        name = self._oldest(KICKS)
        if name is None:
            return "-"
        self._change(name, place=NONE)
        return name

    def sweep(self) -> None:
        self.entries = {n: e for n, e in self.entries.items() if e.place != CLOSING}

    def reconsider(self, boottime: int, wall: int) -> None:
        for name, entry in self.entries.items():
            if entry.waits:
                deadline = boottime + entry.expires_at - wall
                self._change(name, deadline=min(entry.deadline, deadline))

    def due(self, now: int) -> set[str]:
        """Return every answer that is right."""
        waiting = {n: e.deadline for n, e in self.entries.items() if e.waits}
        nearest = min(waiting.values(), default=now + 1)
        return {n for n, d in waiting.items() if d == nearest} if nearest <= now else {"-"}

    def found(self, client: int, name: str) -> str:
        """By the connections alone, and at all."""
        entry = self.entries.get(name)
        connected = entry is not None and entry.client == client
        return f"{name if connected else '-'} {'-' if entry is None else name}"

    def lines(self) -> set[str]:
        return {
            f"{n},{e.epoch},{e.state},{e.client},{e.place},{e.deadline},{int(e.waits)}"
            for n, e in self.entries.items()
        }

    def _change(self, name: str, **changes: int) -> None:
        self.entries[name] = replace(self.entries[name], **changes)

    def _into(self, name: str, place: int) -> None:
        self._change(name, place=place, since=next(self._clock))

    def _oldest(self, place: int) -> str | None:
        there = [n for n, e in self.entries.items() if e.place == place]
        return min(there, key=lambda n: self.entries[n].since, default=None)

    def _shelve(self, name: str) -> None:
        entry = self.entries[name]
        if entry.flags & DROPPED:
            self._into(name, CLOSING)
            return
        if entry.flags & UNKEPT:
            self._into(name, UNKEPT_ONES)
        elif entry.state == REVOKED:
            self._into(name, REVOKED_ONES)
        else:
            self._into(name, DOUBTFUL if entry.flags & CLEAN else STORED)
        while sum(e.place in COUNTED for e in self.entries.values()) > self.limit:
            oldest = next(filter(None, map(self._oldest, COUNTED)))
            self.evicted.append(oldest)
            del self.entries[oldest]

    def take_evicted(self) -> list[str]:
        taken, self.evicted = self.evicted, []
        return taken


NAMES = [f"dev{i}" for i in range(12)]
one = st.sampled_from(NAMES)
puts = st.tuples(
    st.just("put"),
    one,
    st.integers(1, 9),  # epoch
    st.integers(1, 5),  # client
    st.integers(0, 60),  # deadline
    st.sampled_from((ONLINE, ONLINE, OFFLINE, REVOKED)),
    st.sampled_from((0, CLEAN, CLEAN | UNKEPT, CLEAN | DROPPED | UNKEPT)),
    st.integers(0, 60),  # expires_at
)
steps = st.one_of(
    puts,
    puts,
    st.tuples(st.sampled_from(("drop", "hasten", "expire", "revoke", "disconnect")), one),
    st.tuples(st.sampled_from(("kick", "sweep"))),
    st.tuples(st.just("reconsider"), st.integers(0, 60), st.integers(0, 60)),
)


def split_evicted(answer: str) -> tuple[list[str], str]:
    *evicted, rest = answer.split(" ")
    return [word.removeprefix("evicted:") for word in evicted], rest


def put(runner: Runner, name: str, entry: Entry) -> str:
    source = frames.record(ALLOWED, name, epoch=entry.epoch, expires_at=entry.expires_at)
    return runner.ask("put", source, entry.client, entry.deadline, entry.state, entry.flags)


def applied(runner: Runner, model: Model, step: tuple[object, ...]) -> None:
    match step:
        case "put", str(name), int(epoch), int(client), int(deadline), int(state), int(flags), int(
            expires_at
        ):
            connected = client if state == ONLINE else 0
            entry = Entry(epoch, state, connected, deadline, flags, expires_at)
            model.put(name, entry)
            assert split_evicted(put(runner, name, entry)) == (model.take_evicted(), "1")
        case ("kick",):
            assert runner.ask("kick") == model.kick()
        case ("sweep",):
            model.sweep()
            assert runner.says("sweep")
        case "reconsider", int(boottime), int(wall):
            model.reconsider(boottime, wall)
            assert runner.says("reconsider", boottime, wall)
        case str(verb), str(name):
            known = name in model.entries
            if known:
                getattr(model, verb)(name)
            answer = runner.ask(verb, name.encode())
            assert split_evicted(answer) == (model.take_evicted(), str(int(known)))


def held(runner: Runner) -> set[str]:
    *lines, verdict = runner.ask("dump").split()
    assert verdict == "."
    return set(lines)


@bounded
@given(limit=st.integers(0, 6), script=st.lists(steps, max_size=60), now=st.integers(0, 60))
def test_any_life_of_records_is_that_of_the_model(
    runner: Runner, limit: int, script: list[tuple[object, ...]], now: int
) -> None:
    model = Model(limit)
    assert runner.says("start", limit, 1, 2)
    for step in script:
        applied(runner, model, step)
        assert held(runner) == model.lines()
        assert runner.ask("due", now) in model.due(now)
    for client in range(1, 6):
        for name in NAMES:
            assert runner.ask("client", client, name.encode()) == model.found(client, name)


@pytest.fixture
def many(runner: Runner) -> Iterator[list[str]]:
    """3,000 online records: the table and the heap have grown several times."""
    assert runner.says("start", 10_000, 3, 4)
    names = [f"client-{i}" for i in range(3000)]
    for i, name in enumerate(names):
        entry = Entry(i + 1, ONLINE, i + 1, i * 7919 % 3000, 0, 0)
        assert put(runner, name, entry) == "1"
    yield names
    assert runner.says("start", 0, 1, 2)


def test_deadlines_come_in_their_order_whatever_order_they_were_set_in(
    runner: Runner, many: list[str]
) -> None:
    expected = sorted(range(3000), key=lambda i: i * 7919 % 3000)
    assert len(held(runner)) == 3000
    for i in expected:
        name = runner.ask("due", 3000)
        assert name == many[i]
        assert runner.says("expire", name.encode())
    assert runner.ask("due", 3000) == "-"


def visited(runner: Runner, step: int) -> tuple[list[str], bool]:
    """Take one step; return whom it came by, and whether there are more."""
    *lines, verdict = runner.ask("visit", step).split()
    return [line.split(",")[0] for line in lines], verdict == "more"


@pytest.mark.parametrize("grows_at", [0, 1, 40, 63, 64])
def test_each_record_is_visited_once_also_where_the_table_grows_between_two_steps(
    runner: Runner, grows_at: int
) -> None:
    """A link tells its records in steps; other links' clients come in meanwhile, and some go."""
    assert runner.says("start", 10_000, 5, 6)
    there = [f"there-{i}" for i in range(60)]
    for i, name in enumerate([*there, "gone"]):
        put(runner, name, Entry(i + 1, ONLINE, i + 1, 0, 0, 0))
    seen: list[str] = []
    step, more = 0, True
    while more:
        if step == grows_at:
            for i in range(300):  # the table doubles three times
                put(runner, f"new-{i}", Entry(100 + i, ONLINE, 100 + i, 0, 0, 0))
            assert runner.says("drop", b"gone")
        names, more = visited(runner, step)
        seen += names
        step += 1
    assert sorted(name for name in seen if name.startswith("there")) == sorted(there)
    assert len(seen) == len(set(seen))


def test_nothing_is_due_before_its_deadline(runner: Runner, many: list[str]) -> None:
    assert runner.ask("due", -1) == "-"
    assert runner.ask("due", 0) == many[0]


def test_records_are_found_and_dropped_after_the_table_grew(
    runner: Runner, many: list[str]
) -> None:
    for name in many[::2]:
        assert runner.says("drop", name.encode())
    assert not runner.says("drop", many[0].encode())
    assert {line.split(",")[0] for line in held(runner)} == set(many[1::2])


def test_a_connection_finds_its_record_after_the_table_grew(
    runner: Runner, many: list[str]
) -> None:
    for name in many[::2]:
        assert runner.says("disconnect", name.encode())
    for i, name in enumerate(many):
        connected = name if i % 2 else "-"
        assert runner.ask("client", i + 1, name.encode()) == f"{connected} {name}"
        assert runner.ask("client", i + 2, name.encode()) == f"- {name}"


def test_a_connection_under_another_identifier_finds_no_record(runner: Runner) -> None:
    """An address is used again, and an identifier may be a beginning of another."""
    assert runner.says("start", 10, 1, 2)
    put(runner, "dev10", Entry(1, ONLINE, 7, 0, 0, 0))
    for other in ("dev1", "dev100", "dev11", ""):
        assert runner.ask("client", 7, other.encode()) == "- -"
    assert runner.ask("client", 7, b"dev10") == "dev10 dev10"


def replaced(runner: Runner) -> None:
    put(runner, "dev1", Entry(2, OFFLINE, 0, 0, 0, 0))


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(lambda runner: runner.ask("drop", b"dev1"), id="dropped"),
        pytest.param(lambda runner: runner.ask("disconnect", b"dev1"), id="evicted at once"),
        pytest.param(replaced, id="replaced"),
    ],
)
def test_a_record_that_is_gone_is_not_looked_at_for_its_connections_address(
    runner: Runner, way: Callable[[Runner], object]
) -> None:
    """The next connection may have the same; a sanitizer would see a record that was freed."""
    assert runner.says("start", 0, 1, 2)  # no record stays without a connection
    put(runner, "dev1", Entry(1, ONLINE, 7, 0, 0, 0))
    assert runner.ask("client", 7, b"dev1") == "dev1 dev1"
    way(runner)
    assert runner.ask("client", 7, b"dev1") == "- -"
    put(runner, "dev2", Entry(3, ONLINE, 7, 0, 0, 0))
    assert runner.ask("client", 7, b"dev1") == "- -"
    assert runner.ask("client", 7, b"dev2") == "dev2 dev2"


def test_doubtful_sessions_are_evicted_before_stored_ones(runner: Runner) -> None:
    """Clients with a clean start and ever new identifiers cannot push out those who come back."""
    assert runner.says("start", 3, 1, 2)
    for i in range(2):
        put(runner, f"stored{i}", Entry(1, OFFLINE, 0, 0, 0, 0))
    evicted = [
        split_evicted(put(runner, f"guest{i}", Entry(1, OFFLINE, 0, 0, CLEAN, 0)))[0]
        for i in range(10)
    ]
    assert evicted == [[], *([f"guest{i}"] for i in range(9))]
    assert {line.split(",")[0] for line in held(runner)} == {"stored0", "stored1", "guest9"}


def test_what_nobody_comes_back_to_is_evicted_first_and_a_revocation_last(
    runner: Runner,
) -> None:
    """One device with ever new assigned identifiers cannot push out others, nor a revocation."""
    assert runner.says("start", 4, 1, 2)
    put(runner, "revoked", Entry(1, REVOKED, 0, 0, CLEAN, 0))
    put(runner, "late", Entry(1, OFFLINE, 0, 0, CLEAN, 0))
    assert runner.says("revoke", b"late")
    put(runner, "guest", Entry(1, OFFLINE, 0, 0, CLEAN, 0))
    put(runner, "auto0", Entry(1, OFFLINE, 0, 0, CLEAN | UNKEPT, 0))
    for i in range(1, 4):
        answer = put(runner, f"auto{i}", Entry(1, OFFLINE, 0, 0, CLEAN | UNKEPT, 0))
        assert split_evicted(answer)[0] == [f"auto{i - 1}"]
    for name, evicted in (("a", "auto3"), ("b", "guest"), ("c", "a")):
        answer = put(runner, name, Entry(1, OFFLINE, 0, 0, 0, 0))
        assert split_evicted(answer)[0] == [evicted]
    assert {line.split(",")[0] for line in held(runner)} == {"revoked", "late", "b", "c"}


def test_those_that_nobody_comes_back_to_have_a_bound_of_their_own(runner: Runner) -> None:
    """Connections with assigned identifiers leave one each: that must not make the broker grow."""
    assert runner.says("start", 100_000, 1, 2)
    put(runner, "stored", Entry(1, OFFLINE, 0, 0, 0, 0))
    evicted = [
        name
        for i in range(MOST_UNKEPT + 3)
        for name in split_evicted(put(runner, f"a{i}", Entry(1, OFFLINE, 0, 0, UNKEPT, 0)))[0]
    ]
    assert evicted == ["a0", "a1", "a2"]
    assert len(held(runner)) == MOST_UNKEPT + 1


def test_a_record_with_two_filters_needs_less_than_400_bytes(runner: Runner) -> None:
    """The goal: a million clients in 400 MB."""
    device = "device-000123"
    allowed = Permissions.allow_only(
        Rule(operations=operation, filter=TopicFilter.parse(f"devices/{device}/{name}"))
        for operation, name in ((Operation.PUBLISH, "up/#"), (Operation.SUBSCRIBE, "down/#"))
    )
    source = frames.record(
        frames.permissions(allowed), device, principal=device, subject=device, issuer="production"
    )
    assert runner.ask("load", source) == "loaded"
    assert 100 < int(runner.ask("weight")) < 400

# SPDX-License-Identifier: Apache-2.0
"""Clients that wait for their decision, held against a model; and whose a client is."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.guard.shares import owner_of
from tests.brokers.mosquitto.plugin.runner import Runner

bounded = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

MOST = 4096
CLIENTS = [f"dev{i}".encode() for i in range(40)]
WORKERS = 3


@dataclass
class Model:
    """What there should be: (client, request, worker, deadline) by epoch, in order."""

    waiting: dict[int, tuple[bytes, int, int, int]] = field(default_factory=dict)
    closing: dict[int, bytes] = field(default_factory=dict)

    def epoch_of(self, client: bytes) -> int:
        both = {epoch: one[0] for epoch, one in self.waiting.items()} | self.closing
        return next((epoch for epoch, name in both.items() if name == client), 0)

    def give_up(self, epoch: int) -> None:
        if epoch in self.waiting:
            self.closing[epoch] = self.waiting.pop(epoch)[0]

    def __str__(self) -> str:
        queues = (" ".join(["waiting", *map(str, self.waiting)]), *map(str, self.closing))
        count = len(self.waiting) + len(self.closing)
        return " ".join([queues[0], "closing", *queues[1:], "count", str(count)])


def step(chance: random.Random, runner: Runner, model: Model, epoch: int) -> None:
    client = chance.choice(CLIENTS)
    there = model.epoch_of(client)
    match chance.randrange(6):
        case 0 | 1 if not there:
            facts = (client, chance.randrange(5), chance.randrange(WORKERS), epoch * 10)
            assert runner.says("pending-add", client, epoch, *facts[1:])
            model.waiting[epoch] = facts
        case 2:
            assert runner.ask("pending-take", client) == str(there)
            model.waiting.pop(there, None)
            model.closing.pop(there, None)
        case 3 if there:
            runner.ask("pending-give-up", client)
            model.give_up(there)
        case 4 if chance.random() < 0.1:
            worker = chance.randrange(WORKERS)
            runner.ask("pending-give-up-on", worker)
            for lost in [e for e, one in model.waiting.items() if one[2] == worker]:
                model.give_up(lost)
        case _:
            now = chance.randrange(max(1, epoch * 10))
            first = next(iter(model.waiting), 0)
            due = first if first and model.waiting[first][3] <= now else 0
            assert runner.ask("pending-due", now) == str(due)


@pytest.mark.parametrize("seed", range(4))
def test_any_course_of_events_leaves_what_the_model_has(runner: Runner, seed: int) -> None:
    chance, model = random.Random(seed), Model()
    runner.ask("pending-new")
    for epoch in range(1, 1500):
        step(chance, runner, model, epoch)
        if epoch % 20 == 0:
            assert runner.ask("pending-all") == str(model)
            for client in CLIENTS:
                assert runner.ask("pending-of", client) == str(model.epoch_of(client))


def test_a_decision_reaches_only_the_question_that_it_answers(runner: Runner) -> None:
    """Not that of an older connection, of another worker, nor one that was given up."""
    runner.ask("pending-new")
    assert runner.says("pending-add", b"dev1", 7, 100, 1, 1000)
    assert runner.ask("pending-awaiting", 1, 100, 7) == "7"
    for worker, request, epoch in ((0, 100, 7), (1, 101, 7), (1, 100, 6), (1, 100, 7 + 1024)):
        assert runner.ask("pending-awaiting", worker, request, epoch) == "0"
    runner.ask("pending-give-up", b"dev1")
    assert runner.ask("pending-awaiting", 1, 100, 7) == "0"
    assert runner.ask("pending-of", b"dev1") == "7"


def test_no_more_wait_than_the_bound(runner: Runner) -> None:
    runner.ask("pending-new")
    for i in range(MOST):
        assert runner.says("pending-add", f"dev{i}".encode(), i + 1, 1, 0, 1000)
    assert not runner.says("pending-add", b"one-more", MOST + 1, 1, 0, 1000)
    runner.ask("pending-give-up-on", 0)
    assert not runner.says("pending-add", b"one-more", MOST + 1, 1, 0, 1000)
    assert runner.ask("pending-take", b"dev0") == "1"
    assert runner.says("pending-add", b"one-more", MOST + 1, 1, 0, 1000)


@bounded
@given(client_id=st.text(), workers=st.integers(1, 64))
def test_both_sides_know_the_same_owner_of_every_client(
    runner: Runner, client_id: str, workers: int
) -> None:
    name = client_id.encode(errors="replace")
    owner = zlib.crc32(name) % workers
    assert runner.ask("route", name, workers) == str(owner)
    assert owner_of(name.decode(), workers) == owner

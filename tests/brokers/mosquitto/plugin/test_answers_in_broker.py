# SPDX-License-Identifier: Apache-2.0
"""What a client is told of each kind of refusal, by broker, MQTT version and ``decisions``.

The table of docs/mosquitto.md, a row each. "Unavailable" must never look like a bad token.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.brokers.mosquitto.plugin.broker import Broker, Plugin, is_2_1
from tests.brokers.mosquitto.plugin.fake_guard import FakeGuard, refuse, until
from tests.brokers.mosquitto.plugin.raw import (
    ADMINISTRATIVE_ACTION,
    CLOSED,
    Raw,
    connack,
    connect_packet,
)

REFUSED, UNAVAILABLE, TIMED_OUT, AWAY = "refused", "unavailable", "timed out", "away"

BLOCKING_2_0 = {
    (REFUSED, 5): connack(0x87, 5),
    (REFUSED, 4): connack(5, 4),
    (UNAVAILABLE, 5): CLOSED,
    (UNAVAILABLE, 4): CLOSED,
    (TIMED_OUT, 5): CLOSED,
    (TIMED_OUT, 4): CLOSED,
    (AWAY, 5): CLOSED,
    (AWAY, 4): CLOSED,
}
BLOCKING_2_1 = BLOCKING_2_0 | {
    (REFUSED, 5): connack(0x86, 5),
    (UNAVAILABLE, 5): connack(0x88, 5),
    (TIMED_OUT, 5): connack(0x88, 5),
    (AWAY, 5): connack(0x88, 5),
}
DELAYED_2_1 = BLOCKING_2_0 | {
    (UNAVAILABLE, 5): ADMINISTRATIVE_ACTION,
    (TIMED_OUT, 5): ADMINISTRATIVE_ACTION,
    (AWAY, 5): connack(0x88, 5),
}

Row = tuple[str, int]
ROWS = pytest.mark.parametrize(
    "row",
    [(kind, version) for kind in (REFUSED, UNAVAILABLE, TIMED_OUT, AWAY) for version in (5, 4)],
    ids=lambda row: f"{row[0]}-{row[1]}",
)


@dataclass(frozen=True)
class Place:
    """Where a broker is started."""

    directory: Path
    plugin: Plugin
    guard: FakeGuard

    def answer(self, program: str, decisions: str, row: Row) -> bytes:
        """Return every byte that a client gets in such a case."""
        kind, version = row
        options = {"guard_timeout_ms": "200", "decision_timeout_ms": "200", "decisions": decisions}
        with Broker(
            self.directory, self.plugin, self.guard.path, options, program=program
        ) as broker:
            until(lambda: self.guard.links == 1, "the link")
            self._let_happen(kind)
            with Raw(broker.port) as client:
                client.say(connect_packet("dev1", version))
                return client.rest()

    def _let_happen(self, kind: str) -> None:
        if kind == AWAY:
            self.guard.stop()
        elif kind == TIMED_OUT:
            self.guard.decide = lambda *_: None
        else:
            # 0x86 is no token at all: what 2.1 can tell from 0x87.
            self.guard.decide = refuse(0x86 if kind == REFUSED else 0x88)


@pytest.fixture
def place(directory: Path, plugin: Plugin, guard: FakeGuard) -> Place:
    return Place(directory, plugin, guard)


@ROWS
def test_a_broker_that_waits_answers_as_the_table_says(
    place: Place, any_program: str, row: Row
) -> None:
    expected = BLOCKING_2_1 if is_2_1(any_program) else BLOCKING_2_0
    assert place.answer(any_program, "blocking", row) == expected[row]


@ROWS
def test_a_broker_that_goes_on_answers_as_the_table_says(
    place: Place, newest: str, row: Row
) -> None:
    assert place.answer(newest, "delayed", row) == DELAYED_2_1[row]

# SPDX-License-Identifier: Apache-2.0
"""Every event is counted, and delivered without the event loop waiting for it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from keyfob.guard.audit import (
    MAX_EXPLANATION,
    MAX_NAME,
    MAX_WAITING,
    AuditEvent,
    AuditLog,
    Outcome,
)
from tests.guard.world import ISSUER, NOW, EventList


def event(number: int = 0, reason: str = "") -> AuditEvent:
    outcome = Outcome.REFUSED if reason else Outcome.ALLOWED
    return AuditEvent(
        time=NOW, outcome=outcome, client_id=f"dev{number}", reason=reason, issuer=ISSUER
    )


class FullDisk:
    """A sink that cannot write until it is mended."""

    def __init__(self) -> None:
        self.mended = False
        self.written = 0

    def write(self, events: Sequence[AuditEvent]) -> None:
        if not self.mended:
            raise OSError(28, "No space left on device")
        self.written += len(events)

    def close(self) -> None: ...


class StuckTerminal:
    """A sink that does not come back before it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self.written = 0

    def write(self, events: Sequence[AuditEvent]) -> None:
        self.entered.set()
        self.let_go.wait()
        self.written += len(events)

    def close(self) -> None: ...


def test_every_sink_gets_every_event_in_order() -> None:
    first, second = EventList(), EventList()
    with AuditLog([first, second]) as log:
        for number in range(1000):
            log.record(event(number))
    assert [each.client_id for each in first.events] == [f"dev{n}" for n in range(1000)]
    assert first.events == second.events


def test_events_are_delivered_without_anybody_asking() -> None:
    arrived = threading.Event()

    class Sink(EventList):
        def write(self, events: Sequence[AuditEvent]) -> None:
            super().write(events)
            arrived.set()

    with AuditLog([Sink()], flush_interval=0.001) as log:
        log.record(event())
        assert arrived.wait(30)


def test_flush_delivers_what_was_recorded() -> None:
    sink = EventList()
    with AuditLog([sink], flush_interval=3600) as log:
        log.record(event())
        log.flush()
        assert len(sink.events) == 1


def test_counts_are_by_issuer_outcome_and_reason() -> None:
    log = AuditLog()
    for reason in ("", "", "token_expired"):
        log.record(event(reason=reason))
    assert log.counts == {
        (ISSUER, Outcome.ALLOWED, ""): 2,
        (ISSUER, Outcome.REFUSED, "token_expired"): 1,
    }


def test_what_a_client_made_long_is_cut_before_it_is_kept() -> None:
    sink = EventList()
    names = ("client_id", "principal", "token_id", "peer")
    with AuditLog([sink]) as log:
        for size, explanation in ((65_535, "z" * 70_000), (MAX_NAME, "z" * MAX_EXPLANATION)):
            log.record(
                AuditEvent(
                    time=NOW,
                    outcome=Outcome.REFUSED,
                    client_id="x" * size,
                    principal="x" * size,
                    token_id="x" * size,
                    peer="x" * size,
                    explanation=explanation,
                )
            )
    cut, whole = sink.events
    assert {getattr(cut, name) for name in names} == {"x" * MAX_NAME + "…"}
    assert cut.explanation == "z" * MAX_EXPLANATION + "…"
    assert {getattr(whole, name) for name in names} == {"x" * MAX_NAME}
    assert whole.explanation == "z" * MAX_EXPLANATION


def test_a_full_disk_stops_neither_the_guard_nor_the_other_sinks() -> None:
    full, other = FullDisk(), EventList()
    with AuditLog([full, other], flush_interval=3600) as log:
        log.record(event(1))
        log.flush()
        full.mended = True
        log.record(event(2))
        log.flush()
        assert (full.written, len(other.events), log.dropped) == (1, 2, 1)


def test_a_stuck_sink_makes_the_log_drop_and_count_and_not_grow() -> None:
    stuck = StuckTerminal()
    log = AuditLog([stuck], flush_interval=0.001)
    log.record(event())
    assert stuck.entered.wait(30)
    for number in range(MAX_WAITING + 500):
        log.record(event(number))
    assert log.dropped == 500
    assert log.counts[ISSUER, Outcome.ALLOWED, ""] == MAX_WAITING + 501
    stuck.let_go.set()
    log.close()
    assert stuck.written == MAX_WAITING + 1


def test_what_comes_after_the_end_is_counted_as_dropped() -> None:
    sink = EventList()
    log = AuditLog([sink])
    log.close()
    log.close()
    log.record(event())
    assert (sink.events, log.dropped) == ([], 1)

# SPDX-License-Identifier: Apache-2.0
"""One event per decision, delivered off the event loop, and counters.

Theory of operation: the guard hands each event over with a list append, so that a slow disk or a
stopped terminal never delays a CONNECT. One thread wakes at most every ``FLUSH_INTERVAL`` seconds,
takes what has come and gives it to every sink, which writes and flushes once. A killed process
loses at most that interval of audit. When the thread cannot keep up, the newest events are
dropped and counted rather than kept without bound.

An event never holds a token or a secret: its fields are what the decision says, and what a stranger
may have made long is cut.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, Protocol, Self

import msgspec

__all__ = ["AuditEvent", "AuditLog", "AuditSink", "Outcome"]

FLUSH_INTERVAL: Final = 0.1
"""Seconds that an event may wait for its line: short enough to watch, long enough to batch."""

MAX_WAITING: Final = 10_000
"""Events kept for a slow sink: about two seconds of a guard at its fastest, 5 MB."""

MAX_NAME: Final = 256
"""Characters kept of a name that a client chose; MQTT allows 65,535 bytes of an identifier."""

MAX_EXPLANATION: Final = 1024
"""Characters kept of an explanation: a few names, and what is said of them."""

_LIMITS: Final = {
    "client_id": MAX_NAME,
    "principal": MAX_NAME,
    "token_id": MAX_NAME,
    "peer": MAX_NAME,
    "explanation": MAX_EXPLANATION,
}

_log = logging.getLogger("keyfob.guard.audit")


class Outcome(StrEnum):
    """What happened."""

    ALLOWED = "allowed"
    REAUTHENTICATED = "reauthenticated"
    REFUSED = "refused"
    REVOKED = "revoked"
    REPLACED = "replaced"
    FORGOTTEN = "forgotten"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_RECOVERED = "upstream_recovered"
    EVENT_ACCEPTED = "event_accepted"
    EVENT_IGNORED = "event_ignored"
    EVENT_REFUSED = "event_refused"


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One decision, one session ended, one security event, or one change of an upstream's state.

    Attributes:
        time: Unix seconds.
        outcome: What happened.
        broker: The broker's name.
        client_id: The MQTT client identifier, as the client sent it.
        reason: The code of the refusal; empty when allowed.
        explanation: The same for people, one sentence.
        principal: Who it is to the broker.
        issuer: The issuer identifier.
        token_id: The token's ``jti``; of a security event, its own.
        peer: The client's network address.
        expires_at: When the permission ends, in Unix seconds; 0: it was not given.
    """

    time: float
    outcome: Outcome
    broker: str = ""
    client_id: str = ""
    reason: str = ""
    explanation: str = ""
    principal: str = ""
    issuer: str = ""
    token_id: str = ""
    peer: str = ""
    expires_at: float = 0.0


class AuditSink(Protocol):
    """Where events go, and as text the name of that; called in the audit thread only."""

    def write(self, events: Sequence[AuditEvent]) -> None:
        """Write and flush a batch.

        Raises:
            OSError: It cannot be written. As with any error, the batch counts as dropped.
        """

    def close(self) -> None:
        """Give the sink's resources up."""


class AuditLog:
    """Takes events from the event loop and gives them to sinks in a thread of its own.

    Args:
        sinks: Where events go. None: events are only counted.
        flush_interval: The longest that an event waits, in seconds.
    """

    def __init__(
        self, sinks: Sequence[AuditSink] = (), *, flush_interval: float = FLUSH_INTERVAL
    ) -> None:
        self._sinks = tuple(sinks)
        self._interval = flush_interval
        self._counts: Counter[tuple[str, Outcome, str]] = Counter()
        # A deque, because appending and popping are atomic: `record` takes no lock.
        self._waiting: deque[AuditEvent] = deque()
        self._delivery = threading.Lock()
        self._stop = threading.Event()
        self._dropped = 0
        self._failing: set[int] = set()  # by place in _sinks
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def counts(self) -> Mapping[tuple[str, Outcome, str], int]:
        """How often each (issuer, outcome, reason) came."""
        return self._counts

    @property
    def dropped(self) -> int:
        """How many lines were not written, summed over the sinks."""
        return self._dropped

    def record(self, event: AuditEvent) -> None:
        """Take an event; never waits for a sink and never raises for one."""
        self._counts[event.issuer, event.outcome, event.reason] += 1
        if not self._sinks:
            return
        if len(self._waiting) >= MAX_WAITING or self._stop.is_set():
            self._dropped += len(self._sinks)
            return
        self._waiting.append(_bounded(event))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="keyfob-audit", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Give every event recorded so far to the sinks, now and in this thread."""
        with self._delivery:
            batch: list[AuditEvent] = []
            while self._waiting:
                batch.append(self._waiting.popleft())
            if batch:
                for place in range(len(self._sinks)):
                    self._deliver(place, batch)

    def close(self) -> None:
        """Write what waits, then close the sinks."""
        if self._stop.is_set():
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()
        for sink in self._sinks:
            sink.close()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self.flush()

    def _deliver(self, place: int, batch: Sequence[AuditEvent]) -> None:
        sink = self._sinks[place]
        try:
            sink.write(batch)
        except Exception as error:  # noqa: BLE001 - no sink's mistake may end the others
            self._dropped += len(batch)
            if place not in self._failing:
                why = getattr(error, "strerror", None) or error
                _log.warning("audit: %s cannot be written: %s", sink, why)
            self._failing.add(place)
        else:
            self._failing.discard(place)


def _bounded(event: AuditEvent) -> AuditEvent:
    """Cut what is too long, and show it by an ellipsis."""
    cut = {
        name: text[:limit] + "…"
        for name, limit in _LIMITS.items()
        if len(text := getattr(event, name)) > limit
    }
    return msgspec.structs.replace(event, **cut) if cut else event

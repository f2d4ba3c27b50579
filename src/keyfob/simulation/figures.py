# SPDX-License-Identifier: Apache-2.0
"""What is counted of a fleet; the parts of several processes are added."""

from __future__ import annotations

import enum
import math
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Figures", "Ledger", "Time", "What", "quantile"]

_LEAST: Final = 1e-4
_STEP: Final = math.log(1.05)
"""Times are kept in steps of five percent: some hundred numbers, however many there were."""


class What(enum.StrEnum):
    """What is counted; most of it by a code."""

    ANSWER = "answer"
    """Of a token request: the HTTP status and ``error``, or why there was none."""
    METADATA = "metadata"
    LIFETIME = "lifetime"
    """Of a token, in seconds."""
    RETRY_AFTER = "retry_after"
    """The server said when to come again."""
    TOO_EARLY = "too_early"
    """A device came before that."""
    CONNACK = "connack"
    PLANNED = "planned"
    """Of the connections: made for the next token, where the last one stood."""
    REAUTHENTICATION = "reauthentication"
    NO_CONNECTION = "no_connection"
    ENDING = "ending"
    """Of a connection that stood, and that the device did not end."""
    SUBACK = "suback"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    RECEIVED = "received"
    TWICE = "twice"
    LOST = "lost"
    EXPIRED_SHOWN = "expired_shown"
    FAULT = "fault"
    """A device ended by an error that is none of ours to have."""


class Time(enum.StrEnum):
    """What takes time."""

    TOKEN = "token"  # noqa: S105 - what is measured
    CONNECT = "connect"
    """From CONNECT to CONNACK."""
    MESSAGE = "message"
    """From PUBLISH to the same device's receipt."""
    LAG = "lag"
    """By which the simulator's own event loop was late."""


@dataclass(slots=True)
class Figures:
    """Counts that can be added.

    Attributes:
        counts: How often, by what and code.
        requests: Token requests that began, by the second.
        times: How often each step of time, by what took it.
        connected: Devices that are connected now.
        on_the_way: Messages that were sent and are not there yet.
        cpu: Seconds of CPU, of each process.
    """

    counts: Counter[tuple[What, str]] = field(default_factory=Counter)
    requests: Counter[int] = field(default_factory=Counter)
    times: dict[Time, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    connected: int = 0
    on_the_way: int = 0
    cpu: tuple[float, ...] = ()

    def __add__(self, other: Figures) -> Figures:
        return Figures(
            counts=self.counts + other.counts,
            requests=self.requests + other.requests,
            times={each: self.times[each] + other.times[each] for each in Time},
            connected=self.connected + other.connected,
            on_the_way=self.on_the_way + other.on_the_way,
            cpu=self.cpu + other.cpu,
        )

    def of(self, what: What) -> dict[str, int]:
        """Return how often something happened, by code, the most frequent first."""
        found = {code: n for (which, code), n in self.counts.items() if which is what}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def total(self, what: What) -> int:
        """Return how often something happened."""
        return sum(self.of(what).values())


class Ledger:
    """Where one process enters what happens; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._figures = Figures(times={each: Counter() for each in Time})

    def count(self, what: What, code: str = "", number: int = 1) -> None:
        """Enter that something happened."""
        with self._lock:
            self._figures.counts[what, code] += number

    def asked(self, second: int) -> None:
        """Enter that a token was asked for in this second from the beginning."""
        with self._lock:
            self._figures.requests[second] += 1

    def took(self, what: Time, seconds: float) -> None:
        """Enter how long something took."""
        with self._lock:
            self._figures.times[what][_step_of(seconds)] += 1

    def figures(self, *, connected: int, on_the_way: int, cpu: float) -> Figures:
        """Return a copy of what there is by now."""
        with self._lock:
            return Figures(
                counts=self._figures.counts.copy(),
                requests=self._figures.requests.copy(),
                times={each: counts.copy() for each, counts in self._figures.times.items()},
                connected=connected,
                on_the_way=on_the_way,
                cpu=(cpu,),
            )


def quantile(times: Counter[int], share: float) -> float | None:
    """Return the seconds that a share of the times did not exceed; None: there are none.

    Args:
        times: How often each step of time.
        share: From 0 to 1.
    """
    left = share * times.total()
    for step in sorted(times):
        left -= times[step]
        if left <= 0:
            return _LEAST * math.exp(step * _STEP)
    return None


def _step_of(seconds: float) -> int:
    return math.ceil(math.log(seconds / _LEAST) / _STEP) if seconds > _LEAST else 0

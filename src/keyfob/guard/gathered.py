# SPDX-License-Identifier: Apache-2.0
"""The numbers of all workers together, as a lead tells them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from keyfob.guard.audit import Outcome
from keyfob.guard.breaker import BreakerState
from keyfob.guard.figures import Figures, HasCounts
from keyfob.guard.health import GuardHealth
from keyfob.guard.histogram import Histogram
from keyfob.guard.introspection import IntrospectionHealth
from keyfob.guard.key_sources import KeyHealth
from keyfob.guard.session import SessionState
from keyfob.guard.tally import Tally

__all__ = ["FRESH", "Gathered"]

FRESH: Final = 1.0
"""Seconds that figures are told again: whoever asks more often must not keep workers busy."""

# What answers kept, and questions that are out, add up to.
_GAUGES: Final = ("active", "refused", "waiting")
_CAUTION: Final = (BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN)
_decoder: Final = msgspec.msgpack.Decoder(Figures)


class Gathered:
    """The numbers of a whole guard: the lead's own and its workers'.

    Args:
        workers: How many there have to be.
        ask: Asks every worker for its figures, as MessagePack.
        own: The lead's: what it knows of feeds, revocations and the file.
        audit: What the lead itself counts.
        monotonic: A clock that never steps.
    """

    def __init__(
        self,
        workers: int,
        *,
        ask: Callable[[], Awaitable[Mapping[int, bytes]]],
        own: Callable[[], GuardHealth],
        audit: HasCounts,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._ask = ask
        self._own = own
        self._audit = audit
        self._monotonic = monotonic
        self._figures: tuple[Figures, ...] = ()
        self._last: dict[int, Figures] = {}  # also of a worker that does not answer
        self._ended = Tally()
        self._stale_at = 0.0
        self._one_at_a_time = asyncio.Lock()

    async def refresh(self) -> None:
        """Ask the workers, unless they were asked a moment ago."""
        async with self._one_at_a_time:
            if self._monotonic() < self._stale_at:
                return
            answers = await self._ask()
            told = {number: _decoder.decode(answer) for number, answer in sorted(answers.items())}
            for number, figures in told.items():
                before = self._last.get(number)
                if before is not None and before.run != figures.run:
                    self._ended.add(before)
            self._last |= told
            self._figures = tuple(told.values())
            self._stale_at = self._monotonic() + FRESH

    def health(self) -> GuardHealth:
        """The state as it was at the last ``refresh``."""
        own = self._own()
        parts = [figures.health for figures in self._figures]
        tally = self._tally()
        states: Counter[tuple[str, SessionState]] = Counter()
        for part in parts:
            states.update(part.session_states)
        return replace(
            own,
            keys={**own.keys, **_slowest(parts)},
            introspection=_together(parts, tally),
            sessions=sum(part.sessions for part in parts),
            session_states=states,
            cache_hits=tally.cache_hits,
            cache_misses=tally.cache_misses,
            storage_failure=next(
                (part.storage_failure for part in (own, *parts) if part.storage_failure), ""
            ),
            audit_dropped=own.audit_dropped + tally.audit_dropped,
            missing_workers=self._workers - len(parts),
        )

    @property
    def counts(self) -> Mapping[tuple[str, Outcome, str], int]:
        """How often each issuer, outcome and reason came, in all processes."""
        return self._tally().counts + Counter(self._audit.counts)

    @property
    def latency(self) -> Histogram:
        """How long decisions took."""
        return self._tally().latency

    def links(self) -> Iterable[tuple[str, str]]:
        """Name and version of each broker; one that is linked to every worker is one."""
        return sorted({link for figures in self._figures for link in figures.links})

    def _tally(self) -> Tally:
        total = self._ended.copy()
        for figures in self._last.values():
            total.add(figures)
        return total


def _slowest(parts: Iterable[GuardHealth]) -> dict[str, KeyHealth]:
    """Of each issuer's keys, those of the worker that read them longest ago, or never."""
    found: dict[str, KeyHealth] = {}
    for part in parts:
        for iss, keys in part.keys.items():
            known = found.get(iss)
            if known is None or _staleness(keys) > _staleness(known):
                found[iss] = keys
    return found


def _staleness(keys: KeyHealth) -> float:
    return float("inf") if keys.age is None else keys.age


def _together(parts: Iterable[GuardHealth], tally: Tally) -> dict[str, IntrospectionHealth]:
    """Of each issuer that is asked: all questions, and the state of the worker that asks least."""
    found: dict[str, IntrospectionHealth] = {}
    for part in parts:
        for iss, asked in part.introspection.items():
            known = found.get(iss)
            found[iss] = asked if known is None else _sum(known, asked)
    counted: Mapping[str, Mapping[str, Any]] = tally.asked
    return {iss: replace(asked, **counted[iss]) for iss, asked in found.items()}


def _sum(one: IntrospectionHealth, other: IntrospectionHealth) -> IntrospectionHealth:
    added = {name: getattr(one, name) + getattr(other, name) for name in _GAUGES}
    breaker = max(one.breaker, other.breaker, key=_CAUTION.index)
    failure = one.failure or other.failure
    return replace(one, breaker=breaker, failure=failure, **added)

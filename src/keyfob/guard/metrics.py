# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told: numbers that are kept anyway, read when it asks.

A decision pays nothing for it. No value of a label comes from a client or a token: issuers are
told by their configured names, reasons are of closed sets, brokers are those that have a link or a
session here, and only so many of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from keyfob.authorization.decision import DenyReason
from keyfob.guard.audit import Outcome
from keyfob.guard.breaker import BreakerState
from keyfob.guard.figures import HasCounts
from keyfob.guard.health import GuardHealth
from keyfob.guard.histogram import Histogram
from keyfob.guard.session import SessionState

__all__ = ["MAX_BROKERS", "GuardMetrics", "Links"]

MAX_BROKERS: Final = 64
"""Brokers told apart, by name; the names of more would fill a metrics server."""

MAX_LABEL: Final = 64
"""Characters of a broker's name or version in a label."""

Links = Callable[[], Iterable[tuple[str, str]]]
"""Returns the broker's name and version of each link that there is."""

_PREFIX: Final = "keyfob_guard_"
_Values = tuple[str, ...]
_STATES: Final = MappingProxyType({state: state.name.lower() for state in SessionState})
_DECIDED: Final = frozenset({Outcome.ALLOWED, Outcome.REAUTHENTICATED, Outcome.REFUSED})
_ENDED: Final = frozenset({Outcome.REVOKED, Outcome.FORGOTTEN})
_EVENTS: Final = frozenset({Outcome.EVENT_ACCEPTED, Outcome.EVENT_IGNORED, Outcome.EVENT_REFUSED})
_DECISION_REASONS: Final = frozenset({*map(str, DenyReason), "allowed", "reauthenticated"})
_EVENT_REASONS: Final = frozenset(
    {
        *map(str, DenyReason),
        *("accepted", "without_effect", "replayed", "outdated"),
        *("authentication_failed", "storage_failed"),
    }
)
_OTHER: Final = "other"


class GuardMetrics(Collector):
    """The metrics of one guard (docs/operations.md tells what each means).

    Args:
        names: What each issuer is called in the configuration, by its ``iss``; no other is named.
            It is looked into at each scrape, so it may change.
        health: Tells the guard's state.
        audit: Counts its decisions.
        latency: How long they took.
        links: The brokers that have a link.
    """

    def __init__(
        self,
        names: Mapping[str, str],
        *,
        health: Callable[[], GuardHealth],
        audit: HasCounts,
        latency: Callable[[], Histogram],
        links: Links = tuple,
    ) -> None:
        self._names = names
        self._health = health
        self._audit = audit
        self._latency = latency
        self._links = links
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Read the numbers; for the registry."""
        health = self._health()
        yield from self._counted()
        yield _histogram("decision_seconds", "Time that decisions took.", self._latency())
        yield from self._sources(health)
        yield from self._brokers(health)
        yield from self._introspection(health)
        hits, misses = health.cache_hits, health.cache_misses
        yield _counter("token_cache_hits", "Tokens known to be good.", [((), hits)])
        yield _counter("token_cache_misses", "Tokens that had to be verified.", [((), misses)])
        yield _gauge("revocations", "Revocations that still matter.", [((), health.revocations)])
        dropped = health.audit_dropped
        yield _counter("audit_dropped", "Lines of the audit not written.", [((), dropped)])
        failing = bool(health.storage_failure)
        yield _gauge("storage_failing", "1: the guard's file does not follow.", [((), failing)])

    def _counted(self) -> Iterator[Metric]:
        decisions: Counter[_Values] = Counter()
        endings: Counter[_Values] = Counter()
        events: Counter[_Values] = Counter()
        for (issuer, outcome, reason), count in tuple(self._audit.counts.items()):
            name = self._names.get(issuer, "")
            if outcome in _DECIDED:
                decisions[name, _known(reason or outcome, _DECISION_REASONS)] += count
            elif outcome in _ENDED:
                endings[name, str(outcome)] += count
            elif outcome in _EVENTS:
                events[name, _known(reason or "accepted", _EVENT_REASONS)] += count
        labels = ("issuer", "reason")
        yield _counter(
            "decisions", "CONNECTs and re-authentications decided.", decisions.items(), labels
        )
        yield _counter("sessions_ended", "Sessions ended by the guard.", endings.items(), labels)
        yield _counter("security_events", "Security event tokens received.", events.items(), labels)

    def _sources(self, health: GuardHealth) -> Iterator[Metric]:
        keys = [(self._names.get(iss, ""), each) for iss, each in health.keys.items()]
        feeds = [(self._names.get(iss, ""), each) for iss, each in health.feeds.items()]
        key_ages = [((name,), each.age) for name, each in keys if each.age is not None]
        feed_ages = [((name,), each.age) for name, each in feeds if each.age is not None]
        usable = [((name,), each.keys) for name, each in keys]
        rejected = [((name,), each.rejected) for name, each in keys]
        failing = [((name, "keys"), bool(each.failure)) for name, each in keys]
        failing += [((name, "revocations"), bool(each.failure)) for name, each in feeds]
        by = ("issuer",)
        yield _gauge("key_age_seconds", "Time since keys were read last.", key_ages, by)
        yield _gauge("keys", "Keys that can be used.", usable, by)
        yield _gauge("rejected_keys", "Keys of the last set that cannot be used.", rejected, by)
        yield _gauge("feed_age_seconds", "Time since revocations were read last.", feed_ages, by)
        yield _gauge(
            "upstream_failing", "1: what is asked does not answer.", failing, ("issuer", "upstream")
        )

    def _brokers(self, health: GuardHealth) -> Iterator[Metric]:
        names = _Bounded(MAX_BROKERS)
        links: Counter[_Values] = Counter()
        for broker, version in self._links():
            links[names(broker), _short(version)] += 1
        sessions: Counter[_Values] = Counter()
        for (broker, state), count in sorted(health.session_states.items()):
            sessions[names(broker), _STATES[state]] += count
        yield _gauge("sessions", "Sessions known.", sessions.items(), ("broker", "state"))
        yield _gauge(
            "broker_links", "Brokers that have a link.", links.items(), ("broker", "version")
        )

    def _introspection(self, health: GuardHealth) -> Iterator[Metric]:
        results: dict[_Values, float] = {}
        states: dict[_Values, float] = {}
        for iss, asked in health.introspection.items():
            name = self._names.get(iss, "")
            results |= {
                (name, "answered"): asked.questions - asked.failures,
                (name, "failed"): asked.failures,
                (name, "not_asked"): asked.unasked,
                (name, "remembered"): asked.hits,
            }
            states |= {(name, str(state)): state is asked.breaker for state in BreakerState}
        yield _counter(
            "introspections", "Answers of introspection.", results.items(), ("issuer", "result")
        )
        yield _gauge(
            "introspection_breaker", "1: the breaker's state.", states.items(), ("issuer", "state")
        )


class _Bounded:
    """Names that a label may have: the first so many, and one for all others."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._names: set[str] = set()

    def __call__(self, name: str) -> str:
        name = _short(name)
        if name not in self._names and len(self._names) >= self._most:
            return _OTHER
        self._names.add(name)
        return name


def _short(name: str) -> str:
    return name[:MAX_LABEL].encode(errors="replace").decode()


def _known(word: str, words: frozenset[str]) -> str:
    return str(word) if word in words else _OTHER


def _counter(
    name: str, text: str, values: Iterable[tuple[_Values, float]], labels: Sequence[str] = ()
) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, text, labels=labels)
    for each, value in values:
        family.add_metric(each, value)
    return family


def _gauge(
    name: str, text: str, values: Iterable[tuple[_Values, float]], labels: Sequence[str] = ()
) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, text, labels=labels)
    for each, value in values:
        family.add_metric(each, value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    family = HistogramMetricFamily(_PREFIX + name, text)
    buckets = list(zip(bounds, histogram.cumulative, strict=True))
    family.add_metric([], buckets=buckets, sum_value=histogram.sum)
    return family

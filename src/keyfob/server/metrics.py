# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told of the server.

No value of a label comes from a request: grant types are those on offer, errors and reasons are
constants of the code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keyfob.server.audit import TokenEvent

__all__ = ["ReadFirst", "ServerMetrics"]

_PREFIX: Final = "keyfob_server_"


class ReadFirst(Protocol):
    """A collector whose numbers are read from the register before they are told."""

    def read(self) -> Awaitable[None]:
        """Read the numbers that are told from now on."""

    def collect(self) -> Iterator[Metric]:
        """Tell the numbers."""


class ServerMetrics(Collector):
    """The metrics of one server (docs/server-operations.md tells what each means).

    Args:
        limited: How often somebody was refused by a limit, by reason.
        connections: How many there are.
        audit_dropped: Lines of the audit that were lost.
    """

    def __init__(
        self,
        *,
        limited: Callable[[], Mapping[str, int]],
        connections: Callable[[], int],
        audit_dropped: Callable[[], int],
    ) -> None:
        self._limited = limited
        self._connections = connections
        self._audit_dropped = audit_dropped
        self._issued: Counter[str] = Counter()
        self._revoked = 0
        self._by_operators: Counter[str] = Counter()
        self._refused: Counter[tuple[str, str, str]] = Counter()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._more: list[ReadFirst] = []
        ProcessCollector(registry=self._registry)

    def count(self, event: TokenEvent) -> None:
        """Count an event of the audit."""
        if event.outcome == "issued":
            self._issued[event.grant_type] += 1
        elif event.outcome == "revoked":
            self._revoked += 1
        elif event.outcome in ("signed_in", "approved", "denied"):
            self._by_operators[event.outcome] += 1
        elif not event.reason.startswith("limit_"):  # of those the audit is told only some
            self._refused[event.request, event.error, event.reason] += 1

    def also(self, more: ReadFirst) -> None:
        """Tell what another part counts, too."""
        self._registry.register(more)
        self._more.append(more)

    async def text(self) -> bytes:
        """Return all metrics in Prometheus' text format, version 0.0.4."""
        for more in self._more:
            await more.read()
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Read the numbers; for the registry."""
        issued = CounterMetricFamily(
            _PREFIX + "tokens_issued", "Tokens issued.", labels=("grant_type",)
        )
        for grant_type, count in self._issued.items():
            issued.add_metric((grant_type,), count)
        yield issued
        yield CounterMetricFamily(
            _PREFIX + "tokens_revoked", "Tokens ended by clients.", value=self._revoked
        )
        by_operators = CounterMetricFamily(
            _PREFIX + "operator_actions", "What operators did.", labels=("outcome",)
        )
        for outcome, count in self._by_operators.items():
            by_operators.add_metric((outcome,), count)
        yield by_operators
        refused = CounterMetricFamily(
            _PREFIX + "refusals", "Requests refused.", labels=("request", "error", "reason")
        )
        for labels, count in self._refused.items():
            refused.add_metric(labels, count)
        yield refused
        limited = CounterMetricFamily(
            _PREFIX + "limited", "Requests refused by a limit.", labels=("reason",)
        )
        for reason, count in self._limited().items():
            limited.add_metric((reason,), count)
        yield limited
        yield GaugeMetricFamily(
            _PREFIX + "connections", "Connections open.", value=self._connections()
        )
        yield CounterMetricFamily(
            _PREFIX + "audit_dropped", "Lines of the audit lost.", value=self._audit_dropped()
        )

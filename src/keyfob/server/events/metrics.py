# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told of the deliveries; the one label is the name that an operator chose."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from keyfob.server.events.receiver import ReceiverStatus

__all__ = ["DeliveryMetrics"]

_PREFIX = "keyfob_server_events_"
_LABELS = ("receiver",)


class DeliveryMetrics(Collector):
    """The deliveries to all receivers, as the register counts them, whichever process made them.

    Args:
        statuses: Reads how they go, by receiver.
        clock: Unix seconds.
    """

    def __init__(
        self,
        statuses: Callable[[], Awaitable[Mapping[str, ReceiverStatus]]],
        clock: Callable[[], float],
    ) -> None:
        self._statuses = statuses
        self._clock = clock
        self._read: Mapping[str, ReceiverStatus] = {}

    async def read(self) -> None:
        """Read the numbers that are told from now on."""
        self._read = await self._statuses()

    def collect(self) -> Iterator[Metric]:
        """Tell the numbers; for the registry, which cannot wait for a database."""
        statuses, now = self._read, self._clock()
        pending = GaugeMetricFamily(
            _PREFIX + "pending", "Events that a receiver was not told of yet.", labels=_LABELS
        )
        oldest = GaugeMetricFamily(
            _PREFIX + "oldest_seconds", "How long the first of them waits.", labels=_LABELS
        )
        for name, each in statuses.items():
            pending.add_metric((name,), each.pending)
            waits = 0.0 if each.oldest_at is None else max(0.0, now - each.oldest_at)
            oldest.add_metric((name,), waits)
        yield pending
        yield oldest
        for what, text in (
            ("delivered", "Events acknowledged."),
            ("rejected", "Events refused for good, and skipped."),
            ("expired", "Events given up, because the tokens that they mean have ended."),
            ("failures", "Attempts that failed and are repeated."),
        ):
            counter = CounterMetricFamily(_PREFIX + what, text, labels=_LABELS)
            for name, each in statuses.items():
                counter.add_metric((name,), getattr(each, what))
            yield counter

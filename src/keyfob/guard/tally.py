# SPDX-License-Identifier: Apache-2.0
"""What several processes have counted, also those that have ended: a counter must never fall.

Prometheus takes one that does for one that began anew, and adds all of it once more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from copy import deepcopy
from typing import Final

from keyfob.guard.audit import Outcome
from keyfob.guard.figures import Figures
from keyfob.guard.histogram import Histogram

__all__ = ["Tally"]

_ASKED: Final = ("questions", "failures", "unasked", "hits", "misses")


class Tally:
    """The sum of what was added.

    Attributes:
        counts: How often each issuer, outcome and reason came.
        latency: How long decisions took.
        cache_hits: Tokens that were known.
        cache_misses: Tokens that were not.
        audit_dropped: Audit lines that were lost.
        asked: Of each issuer that is asked, how often, and how it went (``IntrospectionHealth``).
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, Outcome, str]] = Counter()
        self.latency = Histogram()
        self.asked: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.cache_hits = self.cache_misses = self.audit_dropped = 0

    def add(self, figures: Figures) -> None:
        """Add what one process has counted."""
        for issuer, outcome, reason, number in figures.counts:
            self.counts[issuer, Outcome(outcome), reason] += number
        self.latency.add(figures.latency, figures.latency_sum)
        self.cache_hits += figures.health.cache_hits
        self.cache_misses += figures.health.cache_misses
        self.audit_dropped += figures.health.audit_dropped
        for iss, asked in figures.health.introspection.items():
            self.asked[iss].update({name: getattr(asked, name) for name in _ASKED})

    def copy(self) -> Tally:
        """Return another that can be added to."""
        return deepcopy(self)

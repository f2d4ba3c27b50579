# SPDX-License-Identifier: Apache-2.0
"""The numbers of one process."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

import msgspec

from keyfob.guard.audit import Outcome
from keyfob.guard.health import GuardHealth
from keyfob.guard.histogram import Histogram

__all__ = ["Figures", "HasCounts", "figures_of"]

_RUN: Final = secrets.token_hex(8)


class HasCounts(Protocol):
    """What counts decisions: an ``AuditLog``, or what was gathered."""

    @property
    def counts(self) -> Mapping[tuple[str, Outcome, str], int]:
        """How often each issuer, outcome and reason came."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker counts.

    Attributes:
        run: Which process counts: another one begins at nothing.
        health: Its state.
        counts: Issuer, outcome, reason, and how often that was.
        latency: How many decisions took how long, by bucket.
        latency_sum: How long they took together, in seconds.
        links: Name and version of each broker that has a link.
    """

    run: str
    health: GuardHealth
    counts: tuple[tuple[str, str, str, int], ...]
    latency: tuple[int, ...]
    latency_sum: float
    links: tuple[tuple[str, str], ...]


def figures_of(
    health: GuardHealth, audit: HasCounts, latency: Histogram, links: Iterable[tuple[str, str]]
) -> Figures:
    """Take the numbers of this process."""
    return Figures(
        run=_RUN,
        health=health,
        counts=tuple((*key, number) for key, number in tuple(audit.counts.items())),
        latency=latency.counts,
        latency_sum=latency.sum,
        links=tuple(links),
    )

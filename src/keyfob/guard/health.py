# SPDX-License-Identifier: Apache-2.0
"""How the guard is, and what it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyfob.guard.introspection import IntrospectionHealth
from keyfob.guard.key_sources import KeyHealth
from keyfob.guard.revocation_feed import FeedHealth
from keyfob.guard.session import SessionState

__all__ = ["GuardHealth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardHealth:
    """The state of the guard.

    Attributes:
        keys: Of each issuer, by its identifier.
        feeds: Of each issuer whose revocations are followed.
        introspection: Of each issuer that is asked about tokens.
        cursors: How far each feed has been read and stored.
        sessions: How many there are, live and stored.
        session_states: How many there are of each broker in each state.
        cache_hits: How many CONNECTs brought a token that was known to be good.
        cache_misses: How many brought another.
        revocations: How many still matter.
        storage_failure: Why the file does not follow at present; empty: it does.
        audit_dropped: How many audit lines were not written.
        missing_workers: How many of several processes that decide are not there.
    """

    keys: Mapping[str, KeyHealth]
    feeds: Mapping[str, FeedHealth]
    introspection: Mapping[str, IntrospectionHealth]
    cursors: Mapping[str, int]
    sessions: int
    session_states: Mapping[tuple[str, SessionState], int]
    cache_hits: int
    cache_misses: int
    revocations: int
    storage_failure: str
    audit_dropped: int
    missing_workers: int = 0

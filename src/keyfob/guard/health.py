# SPDX-License-Identifier: Apache-2.0
"""How the guard is, and what it depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyfob.guard.key_sources import KeyHealth
from keyfob.guard.revocation_feed import FeedHealth

__all__ = ["GuardHealth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardHealth:
    """The state of the guard.

    Attributes:
        keys: Of each issuer, by its identifier.
        feeds: Of each issuer whose revocations are followed.
        cursors: How far each feed has been read and stored.
        sessions: How many there are, live and stored.
        revocations: How many still matter.
        storage_failure: Why the file does not follow at present; empty: it does.
        audit_dropped: How many audit lines were not written.
    """

    keys: Mapping[str, KeyHealth]
    feeds: Mapping[str, FeedHealth]
    cursors: Mapping[str, int]
    sessions: int
    revocations: int
    storage_failure: str
    audit_dropped: int

# SPDX-License-Identifier: Apache-2.0
"""The numbers of several workers are one guard's, and asking for them costs the workers little."""

from __future__ import annotations

import asyncio

import pytest

from keyfob.guard.audit import AuditLog
from keyfob.guard.figures import FRESH, Gathered
from tests.guard.world import Clock, guard

pytestmark = pytest.mark.anyio


async def test_workers_are_asked_once_however_many_want_to_know() -> None:
    clock, asked = Clock(), 0

    async def ask() -> dict[int, bytes]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return {}

    gathered = Gathered(2, ask=ask, own=guard().health, audit=AuditLog(), monotonic=clock)
    await asyncio.gather(*(gathered.refresh() for _ in range(50)))
    assert asked == 1
    assert gathered.health().missing_workers == 2
    clock.now += FRESH
    await gathered.refresh()
    assert asked == 2

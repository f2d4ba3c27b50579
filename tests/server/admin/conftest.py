# SPDX-License-Identifier: Apache-2.0
"""Operators' programs under test: services with admin scopes, and what they ask with."""

from __future__ import annotations

import pytest

from tests.server.admin.asking import Admin
from tests.server.world import World


@pytest.fixture
async def admin(world: World) -> Admin:
    """A service that may do everything."""
    return await Admin.of(world, "ops")

# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.postgresql import Cluster, running_cluster

# No test asserts a time: neither for one example, nor for how long drawing them takes.
settings.register_profile("keyfob", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("keyfob")


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, as the product does."""
    return "asyncio"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server that all tests of a run share."""
    with running_cluster() as cluster:
        yield cluster

# SPDX-License-Identifier: Apache-2.0
"""Databases of the shared PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keyfob.server.stores.place import PostgresqlUrl
from tests.postgresql import Cluster, running_cluster


@pytest.fixture
def url(cluster: Cluster) -> Iterator[PostgresqlUrl]:
    """A database with our schema."""
    with cluster.database() as url:
        yield url


@pytest.fixture
def empty(cluster: Cluster) -> Iterator[PostgresqlUrl]:
    """A database without anything in it."""
    with cluster.database(empty=True) as url:
        yield url


@pytest.fixture(scope="module")
def durable() -> Iterator[Cluster]:
    """A server that may be killed, with its files on a disk."""
    with running_cluster(durable=True) as cluster:
        yield cluster

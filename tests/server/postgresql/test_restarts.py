# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL is restarted again and again under a server with load: every answer stays true."""

from __future__ import annotations

import itertools
import signal

import pytest

from tests.postgresql import Cluster
from tests.server.enduring import endure
from tests.server.refresh_servers import ServerProcess

# Stopped in order, stopped at once, and killed.
WAYS = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(
    "restarts", [pytest.param(3, id="short"), pytest.param(60, id="full", marks=pytest.mark.soak)]
)
def test_a_database_that_is_restarted_makes_no_answer_untrue(
    durable: Cluster, restarts: int
) -> None:
    ways = itertools.cycle(WAYS)

    def restart(_: ServerProcess) -> None:
        durable.restart(next(ways))

    with durable.database() as url:
        endure(url, restart, restarts)

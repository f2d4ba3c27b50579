# SPDX-License-Identifier: Apache-2.0
"""The server is killed again and again under load, and what it answered stays true."""

from __future__ import annotations

import pytest

from keyfob.server.stores.place import Place
from tests.server.enduring import endure
from tests.server.refresh_servers import ServerProcess


@pytest.mark.timeout(1_800)
@pytest.mark.parametrize(
    "kills", [pytest.param(5, id="short"), pytest.param(150, id="full", marks=pytest.mark.soak)]
)
def test_kill_9_in_a_loop_makes_no_answer_untrue(database: Place, kills: int) -> None:
    endure(database, ServerProcess.kill_and_restart, kills)

# SPDX-License-Identifier: Apache-2.0
"""Several workers of one guard: their sockets and their clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfob.brokers.mosquitto import frames
from keyfob.brokers.mosquitto.workers import MOST_WORKERS, check_worker, socket_of
from keyfob.errors import ConfigError
from keyfob.guard.shares import owner_of
from tests.brokers.mosquitto.linking import hello, house


def test_the_first_worker_has_the_path_and_the_others_a_number() -> None:
    path = Path("/run/keyfob/guard.sock")
    assert socket_of(path, 0) == path
    assert socket_of(path, 1) == Path("/run/keyfob/guard.sock.1")
    assert len({socket_of(path, worker) for worker in range(MOST_WORKERS)}) == MOST_WORKERS


def test_one_worker_owns_everybody_and_many_share_evenly() -> None:
    names = [f"dev{i}" for i in range(1000)]
    assert {owner_of(name, 1) for name in names} == {0}
    shares = [sum(owner_of(name, 4) == worker for name in names) for worker in range(4)]
    assert min(shares) > 200


@pytest.mark.parametrize(("worker", "workers"), [(0, 0), (0, 65), (2, 2), (-1, 2)])
def test_a_worker_that_there_cannot_be_is_refused(worker: int, workers: int) -> None:
    with pytest.raises(ConfigError):
        check_worker(worker, workers)


@pytest.mark.anyio
async def test_a_worker_says_which_one_it_is_at_its_own_socket(tmp_path: Path) -> None:
    async with house(tmp_path, worker=2, workers=3) as here:
        here.path = socket_of(here.path, 2)
        plugin = await here.link()
        plugin.say(hello())
        welcome = await plugin.hear()
        assert isinstance(welcome, frames.Welcome)
        assert (welcome.worker, welcome.workers) == (2, 3)
        assert not (tmp_path / "guard.sock").exists()

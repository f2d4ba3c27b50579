# SPDX-License-Identifier: Apache-2.0
"""Three cells of the matrix of `make interop`, with the installed Mosquitto."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.free_ports import free_port
from tests.interop import test_matrix as matrix
from tests.interop.ways import Way
from tests.running import Installation, installation

WAYS = (
    Way("username", "WebSocket", False),
    Way("password", "TCP", True),
    Way("enhanced", "WebSocket", True),
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    lines = [f"websockets_port = {free_port()}"]
    directory = tmp_path_factory.mktemp("matrix") / "data"
    with installation(directory, plain=True, mosquitto=lines) as up:
        yield up


@pytest.fixture(params=WAYS, ids=lambda way: way.title)
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    return chosen


@pytest.fixture(scope="module")
def fresh() -> Callable[[str], str]:
    numbers = itertools.count(1)
    return lambda kind: f"{kind}-{next(numbers)}"


test_connects_publishes_and_subscribes_as_allowed = (
    matrix.test_connects_publishes_and_subscribes_as_allowed
)
test_ends_when_it_is_revoked = matrix.test_ends_when_it_is_revoked

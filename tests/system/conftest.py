# SPDX-License-Identifier: Apache-2.0
"""One installation for the tests that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running import Installation, installation


@pytest.fixture(autouse=True)
def _nobody_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Disconnect a test's clients when it ends: the next one shares the broker with nobody."""
    yield
    if "running" in request.fixturenames:
        up: Installation = request.getfixturevalue("running")
        up.close_clients()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """`keyfob up`, shared: no test stops a part of it."""
    with installation(tmp_path_factory.mktemp("installation") / "data", plain=True) as up:
        yield up

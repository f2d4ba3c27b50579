# SPDX-License-Identifier: Apache-2.0
"""`ace` and OAUTH2-DPOP by paho, re-authenticating while they publish, at each Mosquitto."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running import Installation
from tests.system.test_proof_of_possession import proving
from tests.system.test_proving_clients import (
    test_a_client_that_proves_its_key_publishes_through_reauthentications,
    test_a_key_that_is_not_the_tokens_is_refused,
)

__all__ = [
    "test_a_client_that_proves_its_key_publishes_through_reauthentications",
    "test_a_key_that_is_not_the_tokens_is_refused",
]

pytestmark = pytest.mark.interop


@pytest.fixture(scope="session")
def up(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with proving(tmp_path_factory.mktemp("proving") / "data", broker) as running:
        yield running

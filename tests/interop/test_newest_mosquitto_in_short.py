# SPDX-License-Identifier: Apache-2.0
"""The newest Mosquitto, in short, where it was fetched before (`make interop` does that)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.mosquittos import NEWEST, cached
from tests.interop.test_mosquitto_versions import (
    test_a_guard_that_is_away_does_not_look_like_a_bad_token,
    test_a_refused_client_is_told_as_much_as_its_broker_can_tell,
    test_a_token_opens_its_topics_and_no_others,
    test_it_says_that_it_runs_when_the_broker_does,
)
from tests.running import Installation, installation
from tests.system.test_expiry import (
    test_expiry_ends_the_connection_sends_the_will_and_keeps_what_is_owed,
)
from tests.system.test_main_line import (
    test_the_fields_tutorial_runs_with_and_without_a_client_identifier,
)
from tests.system.test_refusals import device, key

__all__ = [
    "device",
    "key",
    "test_a_guard_that_is_away_does_not_look_like_a_bad_token",
    "test_a_refused_client_is_told_as_much_as_its_broker_can_tell",
    "test_a_token_opens_its_topics_and_no_others",
    "test_expiry_ends_the_connection_sends_the_will_and_keeps_what_is_owed",
    "test_it_says_that_it_runs_when_the_broker_does",
    "test_the_fields_tutorial_runs_with_and_without_a_client_identifier",
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    program = cached(NEWEST)
    if program is None:
        pytest.skip(f"no Mosquitto of {NEWEST} here; `make interop` fetches one")
    directory = tmp_path_factory.mktemp("newest") / "data"
    with installation(directory, plain=True, program=str(program)) as up:
        yield up


@pytest.fixture(scope="module")
def breakable(running: Installation) -> Installation:
    """The same: the one test that stops a part lets it go on."""
    return running

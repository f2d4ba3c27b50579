# SPDX-License-Identifier: Apache-2.0
"""The foreign server that is had in seconds, with the installed Mosquitto, in short."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.interop.foreign.server import ForeignServer
from tests.interop.foreign.servers import OIDC_PROVIDER
from tests.interop.rotation import SHORT, Form
from tests.interop.test_foreign_issuers import (
    test_a_foreign_token_is_good_for_its_own_device_only,
    test_a_foreign_token_opens_its_topics_and_no_others,
    test_a_foreign_token_that_was_tampered_with_is_refused,
    test_what_a_foreign_server_signs_for_another_use_is_refused,
)
from tests.interop.test_key_rotation import (
    asking,
    crowd,
    refreshing,
    test_a_key_published_one_refresh_before_its_use_costs_no_good_token,
    test_a_key_used_unannounced_costs_at_most_one_cooldown,
)
from tests.running import MOSQUITTO

__all__ = [
    "asking",
    "crowd",
    "refreshing",
    "test_a_foreign_token_is_good_for_its_own_device_only",
    "test_a_foreign_token_opens_its_topics_and_no_others",
    "test_a_foreign_token_that_was_tampered_with_is_refused",
    "test_a_key_published_one_refresh_before_its_use_costs_no_good_token",
    "test_a_key_used_unannounced_costs_at_most_one_cooldown",
    "test_what_a_foreign_server_signs_for_another_use_is_refused",
]


@pytest.fixture(scope="session")
def broker() -> str:
    return MOSQUITTO


@pytest.fixture(scope="session")
def foreign(foreign_servers: Callable[[str], ForeignServer]) -> ForeignServer:
    return foreign_servers(OIDC_PROVIDER)


@pytest.fixture(scope="session")
def form() -> Form:
    return SHORT


@pytest.fixture(scope="session")
def decisions() -> str:
    return "blocking"

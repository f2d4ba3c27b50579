# SPDX-License-Identifier: Apache-2.0
"""A device's token source at the foreign server that is had in seconds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.interop.foreign.server import ForeignServer
from tests.interop.foreign.servers import OIDC_PROVIDER
from tests.interop.test_foreign_token_sources import (
    test_a_foreign_server_is_found_by_its_issuer_and_gives_tokens,
    test_a_foreign_server_refuses_in_words_that_are_understood,
)

__all__ = [
    "test_a_foreign_server_is_found_by_its_issuer_and_gives_tokens",
    "test_a_foreign_server_refuses_in_words_that_are_understood",
]


@pytest.fixture(scope="session")
def foreign(foreign_servers: Callable[[str], ForeignServer]) -> ForeignServer:
    return foreign_servers(OIDC_PROVIDER)

# SPDX-License-Identifier: Apache-2.0
"""The foreign authorization servers by name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.interop.fetched import fetched
from tests.interop.foreign.keycloak import keycloak
from tests.interop.foreign.oidc_provider import oidc_provider
from tests.interop.foreign.server import SCRIPT, ForeignServer

OIDC_PROVIDER, KEYCLOAK = "oidc-provider", "keycloak"
SERVERS = (OIDC_PROVIDER, KEYCLOAK)


@contextlib.contextmanager
def foreign_server(
    name: str, folder: Path, show: Callable[[str], object]
) -> Iterator[ForeignServer]:
    """Run one of `SERVERS`; it is fetched first where it is not there yet.

    Raises:
        CannotHaveError: This machine cannot have it.
    """
    program = Path(fetched(SCRIPT, name, show=show))
    run = keycloak if name == KEYCLOAK else oidc_provider
    with run(program, folder) as server:
        yield server

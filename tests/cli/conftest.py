# SPDX-License-Identifier: Apache-2.0
"""Installations for the tests of the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyfob.cli.initialising import initialise
from keyfob.cli.installation import Installation
from keyfob.cli.ports import Ports
from keyfob.cli.server_database import server_database
from keyfob.server.stores.store import open_store
from keyfob.tokens.sign import SigningKey
from tests.cli.commands import Shell, started

FREE = Ports(server=0, mqtt=0, plain=0)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "KEYFOB_DIR",
        "KEYFOB_CLIENT_SECRET",
        "KEYFOB_PASSWORD",
        "KEYFOB_TRACEBACK",
        "KEYFOB_SERVER",
        "KEYFOB_CA",
        "KEYFOB_CREDENTIALS",
        "KEYFOB_CLIENT_ID",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """A new installation; nothing of it runs."""
    return initialise(tmp_path / "data", ports=FREE)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], installation: Installation) -> Shell:
    """Commands for it."""
    return Shell(capsys, installation.directory)


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose authorization server runs; shared by the tests that need one."""
    folder = tmp_path_factory.mktemp("serving")
    installation = initialise(folder / "data", ports=FREE)
    with started(folder / "server.log", "server", "--dir", str(installation.directory)) as server:
        server.until("ready at")
        yield installation


@pytest.fixture
def online(capsys: pytest.CaptureFixture[str], serving: Installation) -> Shell:
    """Commands for the installation whose server runs."""
    return Shell(capsys, serving.directory)


@pytest.fixture(scope="session")
def forge(serving: Installation) -> Callable[..., str]:
    """Sign with the server's own key: for tokens that only the server could make."""
    store = open_store(server_database(serving.settings))
    try:
        key = SigningKey.from_pem(store.keys.all()[0].private_key)
    finally:
        store.close()

    def sign(**changes: Any) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": serving.settings.server.issuer,
            "sub": "forged",
            "client_id": "forged",
            "aud": "mqtt",
            "iat": now,
            "exp": now + 600,
            "jti": "a",
            "scope": "mqtt.connect mqtt.publish:devices/forged/#",
        }
        return key.sign(claims | changes)

    return sign

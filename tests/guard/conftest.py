# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the guard's tests."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from keyfob.cli.certificates import ensure_certificates
from keyfob.guard.database import Database
from tests.guard.world import Clock, HttpServer, http_server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "guard.db") as opened:
        yield opened


@pytest.fixture
async def http() -> AsyncIterator[HttpServer]:
    """A plain HTTP server on the loopback address."""
    async with http_server() as served:
        yield served


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA (ca.pem) and a server certificate for localhost."""
    folder = tmp_path_factory.mktemp("certificates")
    ensure_certificates(folder, ["localhost"], now=datetime.datetime.now(datetime.UTC))
    return folder


@pytest.fixture
async def https(certificates: Path) -> AsyncIterator[HttpServer]:
    """The same with TLS, by a CA that no system trusts."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    async with http_server(context) as served:
        yield served

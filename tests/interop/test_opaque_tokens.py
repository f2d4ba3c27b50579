# SPDX-License-Identifier: Apache-2.0
"""Opaque tokens of a real authorization server: the guard asks it about them (RFC 7662)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.foreign.oidc_provider import OidcProvider
from tests.interop.foreign.server import ForeignServer
from tests.interop.foreign.servers import OIDC_PROVIDER
from tests.running import (
    NOT_AUTHORIZED,
    SERVER_UNAVAILABLE,
    Client,
    Installation,
    installation,
    reasons,
    until,
)

REASK = 2
GRANTED_QOS_1, FAILURE = 1, 0x80
CLIENT_IDENTIFIER_NOT_VALID = 0x85


@pytest.fixture(scope="module")
def server(foreign_servers: Callable[[str], ForeignServer]) -> OidcProvider:
    server = foreign_servers(OIDC_PROVIDER)
    assert isinstance(server, OidcProvider)
    return server


@pytest.fixture(scope="module")
def asking(
    server: OidcProvider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """An installation that asks the server about tokens that say nothing themselves."""
    folder = tmp_path_factory.mktemp("asking")
    with installation(folder / "data", plain=True, issuers=asks(server, folder)) as up:
        yield up


def asks(server: OidcProvider, folder: Path) -> list[str]:
    client, secret = server.introspection_credentials
    (folder / "secret").write_text(secret, encoding="utf-8")
    return [
        # What this server says of an opaque token of a client's own has no sub.
        *server.settings('device_claim = "client_id"'),
        "[issuer.introspection]",
        f'client_id = "{client}"',
        f'client_secret = "file:{folder}/secret"',
        f"reask = {REASK}",
        "cache = 1",
    ]


@pytest.fixture
def device(server: OidcProvider, fresh: Callable[[str], str]) -> str:
    server.add("sensor", name := fresh("opaque"))
    return name


def answer(client: Client, device: str, token: str) -> int | None:
    """Come back while the guard is asking: Mosquitto 2.0 cannot be kept waiting for that."""
    unavailable = client.running.connack(SERVER_UNAVAILABLE, v5=client.v5)
    told: list[int | None] = []

    def decided() -> bool:
        told.append(client.try_connect(device, token))
        return told[-1] != unavailable

    until("an answer", decided)
    return told[-1]


@pytest.mark.parametrize("v5", [True, False], ids=["MQTT 5", "MQTT 3.1.1"])
def test_an_opaque_token_opens_its_topics_and_no_others(
    asking: Installation, server: OidcProvider, device: str, v5: bool
) -> None:
    client = asking.client(device, v5=v5)
    assert answer(client, device, server.opaque(device)) == 0
    assert client.subscribe(f"commands/{device}/#") == GRANTED_QOS_1
    assert client.subscribe("commands/another/#") >= FAILURE


def test_one_that_the_server_does_not_know_is_refused(
    asking: Installation, server: OidcProvider, device: str
) -> None:
    position = len(asking.log())
    unknown = "x" + server.opaque(device)[1:]
    told = answer(asking.client(device), device, unknown)
    assert told == asking.connack(NOT_AUTHORIZED)
    until("a reason", lambda: "token_inactive" in reasons(asking.log()[position:]))


def test_another_devices_opaque_token_is_refused(
    asking: Installation, server: OidcProvider, device: str, fresh: Callable[[str], str]
) -> None:
    server.add("sensor", other := fresh("opaque"))
    position = len(asking.log())
    told = answer(asking.client(other), other, server.opaque(device))
    assert told == asking.connack(CLIENT_IDENTIFIER_NOT_VALID)
    until("a reason", lambda: "client_id_mismatch" in reasons(asking.log()[position:]))


def test_a_token_that_can_be_verified_is_not_asked_about(
    asking: Installation, server: OidcProvider, device: str
) -> None:
    """This server refuses to introspect its JWTs, so that it would not be let in."""
    asking.client(device).connect(server.token(device))


def test_a_revoked_token_ends_its_connection_and_opens_none_again(
    asking: Installation, server: OidcProvider, device: str
) -> None:
    token = server.opaque(device)
    client = asking.client(device)
    assert answer(client, device, token) == 0
    before = len(client.disconnects)
    server.revoke(device, token)
    client.until_disconnected(before + 1)
    assert answer(client, device, token) == asking.connack(NOT_AUTHORIZED)

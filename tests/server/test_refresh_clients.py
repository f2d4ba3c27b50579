# SPDX-License-Identifier: Apache-2.0
"""Refresh tokens in the hands of clients that are not ours: Authlib, requests-oauthlib, curl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession  # type: ignore[import-untyped]
from oauthlib.oauth2 import (  # type: ignore[import-untyped]
    InvalidGrantError,
    LegacyApplicationClient,
)
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session  # type: ignore[import-untyped]

from keyfob.server.clients import IssuedApplication
from keyfob.server.register import Register
from keyfob.server.wishes import ApplicationWish, DeviceWish, Rights
from tests.server.refresh_servers import server_process

LONG_AGO = 1.0


@pytest.fixture
def application(database: Path) -> IssuedApplication:
    with Register.open(database) as register:
        return register.add_application(ApplicationWish("gateway", refresh=True))


@pytest.fixture
def device_secret(database: Path) -> str:
    with Register.open(database) as register:
        return register.add_device(DeviceWish("dev1", rights=Rights(publish=["{device}/#"]))).secret


@pytest.fixture
def url(
    database: Path,
    application: IssuedApplication,  # registered first
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # http, to this machine
    with server_process(database) as server:
        yield server.url


def test_authlib_renews_an_expired_token_by_itself(
    url: str, application: IssuedApplication, device_secret: str
) -> None:
    updates: list[tuple[dict[str, Any], str]] = []
    with AuthlibSession(
        "gateway",
        application.secret,
        token_endpoint=f"{url}/oauth2/token",
        update_token=lambda token, refresh_token: updates.append((token, refresh_token)),
    ) as client:
        client.fetch_token(
            f"{url}/oauth2/token", grant_type="password", username="dev1", password=device_secret
        )
        for number in range(1, 4):
            before = dict(client.token)
            client.token = {**before, "expires_at": LONG_AGO}
            assert client.get(f"{url}/healthz").status_code == 200
            assert len(updates) == number
            token, replaced = updates[-1]
            assert replaced == before["refresh_token"]
            assert token["refresh_token"] not in ("", replaced)
            assert token["access_token"] != before["access_token"]
            assert client.token["refresh_token"] == token["refresh_token"]


def test_requests_oauthlib_renews_an_expired_token_by_itself(
    url: str, application: IssuedApplication, device_secret: str
) -> None:
    updates: list[dict[str, Any]] = []
    secret = str(application.secret)
    auth = HTTPBasicAuth("gateway", secret)
    with OAuth2Session(
        client=LegacyApplicationClient(client_id="gateway"),
        auto_refresh_url=f"{url}/oauth2/token",
        auto_refresh_kwargs={"client_id": "gateway", "client_secret": secret},
        token_updater=updates.append,
    ) as session:
        first = session.fetch_token(
            f"{url}/oauth2/token", username="dev1", password=device_secret, auth=auth
        )
        for number in range(1, 4):
            before = dict(session.token)
            session.token = {**before, "expires_at": LONG_AGO}
            assert session.get(f"{url}/healthz").status_code == 200
            assert len(updates) == number
            assert updates[-1]["refresh_token"] != before["refresh_token"]
            session.token = updates[-1]
        with pytest.raises(InvalidGrantError):
            session.refresh_token(f"{url}/oauth2/token", refresh_token=first["refresh_token"])


def test_curl_renews_as_the_documentation_says(
    url: str, application: IssuedApplication, device_secret: str
) -> None:
    def curl(*parameters: str) -> Any:
        command = ["curl", "--silent", "--show-error", "--user", f"gateway:{application.secret}"]
        command += [word for each in parameters for word in ("-d", each)]
        done = subprocess.run(
            [*command, f"{url}/oauth2/token"], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    login = curl("grant_type=password", "username=dev1", f"password={device_secret}")
    renewed = curl("grant_type=refresh_token", f"refresh_token={login['refresh_token']}")
    assert renewed["refresh_token"] != login["refresh_token"]
    assert renewed["scope"] == login["scope"] == "mqtt.connect mqtt.publish:dev1/#"

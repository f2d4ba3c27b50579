# SPDX-License-Identifier: Apache-2.0
"""Two secrets at a time, with clients that are not ours: Authlib, requests-oauthlib, curl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession  # type: ignore[import-untyped]
from oauthlib.oauth2 import (  # type: ignore[import-untyped]
    BackendApplicationClient,
    InvalidClientError,
)
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session  # type: ignore[import-untyped]

from keyfob.server.register import Register
from keyfob.server.wishes import DeviceWish
from tests.server.refresh_servers import server_process


@pytest.fixture
def url(database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # http, to this machine
    with server_process(database) as server:
        yield f"{server.url}/oauth2/token"


def by_authlib(url: str, secret: str) -> int | None:
    with AuthlibSession("dev1", secret, token_endpoint_auth_method="client_secret_post") as client:
        try:
            token = client.fetch_token(url, grant_type="client_credentials")
        except OAuthError:
            return None
    return int(token["expires_in"])


def by_requests_oauthlib(url: str, secret: str) -> int | None:
    with OAuth2Session(client=BackendApplicationClient("dev1")) as client:
        try:
            token = client.fetch_token(url, auth=HTTPBasicAuth("dev1", secret))
        except InvalidClientError:
            return None
    return int(token["expires_in"])


def by_curl(url: str, secret: str) -> int | None:
    command = ["curl", "-s", url, "--user", f"dev1:{secret}", "-d", "grant_type=client_credentials"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=30)
    answer = json.loads(done.stdout)
    return None if "error" in answer else int(answer["expires_in"])


@pytest.mark.parametrize("ask", [by_authlib, by_requests_oauthlib, by_curl])
def test_a_device_learns_its_new_secret_in_its_own_time(
    url: str, database: Path, ask: Callable[[str, str], int | None]
) -> None:
    """The register is changed by another process than the server's, as an operator does it."""
    with Register.open(database) as register:
        register.fleet.add_group("meters", lifetime=900)
        old = register.add_device(DeviceWish("dev1", groups=["meters"])).secret
        assert ask(url, old) == 900
        new = register.rotate_secret("dev1", overlap=3_600, until_used=True).secret
        register.fleet.set_group("meters", {"lifetime": 600})
        assert [ask(url, secret) for secret in (old, "kfs_wrong", old)] == [600, None, 600]
        assert [ask(url, secret) for secret in (new, old, new)] == [600, None, 600]

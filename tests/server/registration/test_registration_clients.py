# SPDX-License-Identifier: Apache-2.0
"""Clients that are not ours register, authenticate with what they were given, and manage it.

Over TLS, at the running server: curl, requests, Authlib, requests_oauth2client.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from authlib.oauth2.rfc7591 import ClientMetadataClaims  # type: ignore[import-untyped]
from joserfc.jwk import ECKey
from requests_oauth2client import OAuth2Client, PrivateKeyJwt

from keyfob.server.registration.initial_tokens import RegistrationTokens, Template
from keyfob.server.stores.store import open_store
from tests.server.test_serve import Running, running

__all__ = ["running"]  # the fixture


@pytest.fixture
def initial_token(running: Running) -> Iterator[str]:
    store = open_store(running.database)
    template = Template(prefix="t-", publish=("devices/{device}/#",))
    yield RegistrationTokens(store).add("line1", uses=9, seconds=600, template=template).token
    store.close()


def metadata(running: Running) -> Any:
    return running.curl(f"{running.url}/.well-known/oauth-authorization-server")[1]


def test_curl_registers_a_device_as_the_documentation_says(
    running: Running, initial_token: str
) -> None:
    status, client = running.curl(
        metadata(running)["registration_endpoint"],
        "-H", f"Authorization: Bearer {initial_token}", "-H", "Content-Type: application/json",
        "-d", '{"device_id": "t-0042", "client_name": "Thermometer, hall 3"}',
    )  # fmt: skip
    assert (status, client["client_id"]) == (201, "t-0042")
    status, token = running.curl(
        "--user", f"t-0042:{client['client_secret']}", "-d", "grant_type=client_credentials",
        f"{running.url}/oauth2/token",
    )  # fmt: skip
    assert (status, token["scope"]) == (200, "mqtt.connect mqtt.publish:devices/t-0042/#")
    manage = ["-H", f"Authorization: Bearer {client['registration_access_token']}"]
    status, shown = running.curl(*manage, client["registration_client_uri"])
    assert (status, shown["client_name"]) == (200, "Thermometer, hall 3")


def test_what_requests_registers_authlib_reads_and_requests_oauth2client_authenticates_with(
    running: Running, initial_token: str
) -> None:
    at = metadata(running)
    key = ECKey.generate_key("P-256", {"alg": "ES256", "use": "sig"}, auto_kid=True)
    wish = {
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [key.as_dict(private=False)]},
        "grant_types": ["client_credentials"],
        "software_id": "4NRB1-0XZABZI9E6-5SM3R",
    }
    with requests.Session() as session:
        session.verify, session.trust_env = str(running.authority.ca), False

        def ask(method: str, url: str, token: str, **options: Any) -> requests.Response:
            headers = {"Authorization": f"Bearer {token}"}
            return session.request(method, url, headers=headers, **options)

        answer = ask("POST", at["registration_endpoint"], initial_token, json=wish)
        assert answer.status_code == 201
        client = answer.json()
        claims = ClientMetadataClaims(client, {})
        claims.validate()
        assert claims["software_id"] == wish["software_id"]
        oauth = OAuth2Client(
            token_endpoint=at["token_endpoint"],
            auth=PrivateKeyJwt(client["client_id"], key.as_dict(private=True), aud=running.url),
            session=session,
        )
        assert oauth.client_credentials().scope == client["scope"]
        place, first = client["registration_client_uri"], client["registration_access_token"]
        update = wish | {"client_id": client["client_id"], "client_name": "new"}
        changed = ask("PUT", place, first, json=update).json()
        assert changed["client_name"] == "new"
        second = changed["registration_access_token"]
        assert ask("GET", place, second).json()["client_id"] == client["client_id"]
        assert ask("GET", place, first).status_code == 401
        assert ask("DELETE", place, second).status_code == 204
        assert ask("GET", place, second).status_code == 401

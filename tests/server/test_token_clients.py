# SPDX-License-Identifier: Apache-2.0
"""Introspection and revocation by clients that are not ours: Authlib, oauthlib, curl."""

from __future__ import annotations

from typing import Any

import pytest
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession  # type: ignore[import-untyped]
from oauthlib.oauth2 import BackendApplicationClient  # type: ignore[import-untyped]
from requests_oauthlib import OAuth2Session  # type: ignore[import-untyped]

from keyfob.server.register import Register
from tests.server.test_serve import Running, running

pytestmark = pytest.mark.sqlite

__all__ = ["running"]  # the fixture


@pytest.fixture
def secrets(running: Running) -> tuple[str, str]:
    """Those of a device and of a service that may ask about tokens."""
    with Register.open(running.database) as register:
        _, asker = register.add_service("asker", scopes=["keyfob.introspection"])
        return register.add_device("dev1").secret, asker


def metadata(running: Running) -> Any:
    return running.curl(f"{running.url}/.well-known/oauth-authorization-server")[1]


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_asks_about_a_token_and_ends_it(
    running: Running, secrets: tuple[str, str], method: str
) -> None:
    device, asker = secrets
    at, ca = metadata(running), str(running.authority.ca)
    options = {"token_endpoint_auth_method": method, "revocation_endpoint_auth_method": method}
    assert method in at["introspection_endpoint_auth_methods_supported"]
    assert method in at["revocation_endpoint_auth_methods_supported"]
    with (
        AuthlibSession("dev1", device, **options) as client,
        AuthlibSession("asker", asker, **options) as service,
    ):
        client.verify = service.verify = ca
        client.trust_env = service.trust_env = False  # the environment may name another CA
        token = client.fetch_token(at["token_endpoint"], grant_type="client_credentials")
        shown = token["access_token"]

        def asked() -> Any:
            return service.introspect_token(at["introspection_endpoint"], token=shown).json()

        assert (asked()["active"], asked()["sub"]) == (True, "dev1")
        answer = client.revoke_token(
            at["revocation_endpoint"], token=shown, token_type_hint="access_token"
        )
        assert (answer.status_code, answer.content) == (200, b"")
        assert asked() == {"active": False}


def test_oauthlib_prepares_a_revocation_and_curl_sees_what_it_did(
    running: Running, secrets: tuple[str, str]
) -> None:
    device, asker = secrets
    at = metadata(running)
    client = BackendApplicationClient("dev1")
    with OAuth2Session(client=client) as session:
        session.verify, session.trust_env = str(running.authority.ca), False
        token = session.fetch_token(at["token_endpoint"], client_secret=device)["access_token"]
        url, headers, body = client.prepare_token_revocation_request(
            at["revocation_endpoint"], token
        )
        answer = session.request(
            "POST", url, data=body, headers=headers, auth=("dev1", device), withhold_token=True
        )
        assert answer.status_code == 200
    status, document = running.curl(
        "--user", f"asker:{asker}", "--data-urlencode", f"token={token}",
        at["introspection_endpoint"],
    )  # fmt: skip
    assert (status, document) == (200, {"active": False})

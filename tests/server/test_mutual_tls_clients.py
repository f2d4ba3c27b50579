# SPDX-License-Identifier: Apache-2.0
"""Certificates shown to the real server by curl, Authlib, requests_oauth2client and httpx."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from authlib.integrations.requests_client import OAuth2Session  # type: ignore[import-untyped]
from cryptography import x509
from requests_oauth2client import InvalidClient, OAuth2Client, PublicApp

from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.wishes import DeviceWish
from tests.server.client_certificates import Shown, named, signed
from tests.server.mtls_servers import Served, direct

DNS = CertificateIdentity(san_dns="dev1.example")
GRANT = {"grant_type": "client_credentials", "client_id": "dev1"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with direct(tmp_path_factory.mktemp("direct")) as served:
        with served.register() as register:
            register.add_device(DeviceWish("dev1", certificate=DNS, certificate_bound=True))
        yield served


@pytest.fixture
def client(served: Served, tmp_path: Path) -> tuple[Shown, tuple[str, str]]:
    """The device's certificate, and its files."""
    shown = device(served, "dev1.example")
    return shown, shown.files(tmp_path, "client")


def device(served: Served, name: str) -> Shown:
    return signed(named("any"), issuer=served.place.clients, names=[x509.DNSName(name)])


def bound_to(token: str) -> Any:
    payload = token.split(".")[1]
    members = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return members["sub"], members["cnf"]


def test_curl_gets_a_token_that_is_bound_to_its_certificate(
    served: Served, client: tuple[Shown, tuple[str, str]], tmp_path: Path
) -> None:
    shown, (certificate, key) = client
    status, document = served.curl(GRANT, "--cert", certificate, "--key", key)
    assert status == 200
    assert bound_to(document["access_token"]) == ("dev1", {"x5t#S256": shown.thumbprint})
    assert served.curl(GRANT)[0] == 401
    other, key = device(served, "dev2.example").files(tmp_path, "other")
    assert served.curl(GRANT, "--cert", other, "--key", key)[0] == 401
    assert served.events[-1].reason == "certificate_wrong"


def test_requests_oauth2client_gets_one(
    served: Served, client: tuple[Shown, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", served.place.ca)
    shown, files = client
    # What it calls a public app is a client that sends its name alone: the certificate is TLS's.
    asking = OAuth2Client(f"{served.url}/oauth2/token", auth=PublicApp("dev1"))
    with asking.session:
        with pytest.raises(InvalidClient):
            asking.client_credentials()
        asking.session.cert = files
        token = asking.client_credentials()
    assert bound_to(str(token.access_token)) == ("dev1", {"x5t#S256": shown.thumbprint})


def test_authlib_gets_one(served: Served, client: tuple[Shown, tuple[str, str]]) -> None:
    shown, files = client
    with OAuth2Session("dev1", token_endpoint_auth_method="none") as session:
        session.trust_env = False
        token = session.fetch_token(
            f"{served.url}/oauth2/token",
            grant_type="client_credentials",
            verify=served.place.ca,
            cert=files,
        )
    assert bound_to(token["access_token"]) == ("dev1", {"x5t#S256": shown.thumbprint})


def test_httpx_finds_the_method_in_the_metadata_and_gets_one(
    served: Served, client: tuple[Shown, tuple[str, str]]
) -> None:
    shown, files = client
    context = ssl.create_default_context(cafile=served.place.ca)
    context.load_cert_chain(*files)
    with httpx.Client(verify=context, trust_env=False) as http:
        told = http.get(f"{served.url}/.well-known/oauth-authorization-server").json()
        assert "tls_client_auth" in told["token_endpoint_auth_methods_supported"]
        assert told["tls_client_certificate_bound_access_tokens"] is True
        for _ in range(2):  # on one connection, too
            token = http.post(told["token_endpoint"], data=GRANT).json()["access_token"]
            assert bound_to(token) == ("dev1", {"x5t#S256": shown.thumbprint})


def test_a_certificate_by_itself_gets_no_connection_without_a_proxy(
    served: Served, tmp_path: Path
) -> None:
    certificate, key = signed(named("dev1")).files(tmp_path, "self")
    context = ssl.create_default_context(cafile=served.place.ca)
    context.load_cert_chain(certificate, key)
    with httpx.Client(verify=context, trust_env=False) as http, pytest.raises(httpx.HTTPError):
        http.post(f"{served.url}/oauth2/token", data=GRANT)


def test_a_header_is_no_certificate_where_no_proxy_is_trusted(
    served: Served, client: tuple[Shown, tuple[str, str]]
) -> None:
    shown, _ = client
    text = base64.b64encode(shown.der).decode()
    for header in (f"Client-Cert: :{text}:", f"X-Client-Cert: {text}"):
        assert served.curl(GRANT, "--header", header)[0] == 401

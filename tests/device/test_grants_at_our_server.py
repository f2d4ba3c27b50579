# SPDX-License-Identifier: Apache-2.0
"""Every grant and every client authentication, at Keyfob's own server, over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from keyfob.device import (
    ClientSecretBasic,
    ClientSecretPost,
    DeviceCode,
    FileStore,
    Invitation,
    JWTBearer,
    Password,
    PrivateKeyJwt,
    RefreshToken,
    Token,
    TokenSource,
)
from keyfob.errors import TokenRequestError, TokenUnavailableError
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.operator_register import OperatorRegister
from keyfob.server.register import Register
from keyfob.server.wishes import ApplicationWish, DeviceWish
from keyfob.tokens.sign import SigningKey
from tests.server.approving import PASSWORD, Approver
from tests.server.assertions import jwks_of
from tests.server.client_certificates import named, signed
from tests.server.mtls_servers import direct
from tests.server.refresh_servers import ServerProcess, server_process
from tests.server.test_grant_clients import assertion, jwks_uri, running, secrets
from tests.server.test_serve import Running

__all__ = ["jwks_uri", "running", "secrets"]  # fixtures

KEY = SigningKey.generate("ES256")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """For the fixture ``running``."""
    return tmp_path / "server.db"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def secret(folder: Path) -> str:
    with OperatorRegister.open(folder / "server.db") as operators:
        operators.add("alice", PASSWORD)
    with Register.open(folder / "server.db") as register:
        register.add_application(ApplicationWish("app", public=True, refresh=True))
        register.add_application(
            ApplicationWish("setup", public=True, device_code=True, refresh=True)
        )
        register.add_device(DeviceWish("signer", jwks=jwks_of(KEY)))
        bound = ClientMetadata(dpop_bound_access_tokens=True)
        register.add_device(DeviceWish("bound", jwks=jwks_of(KEY), metadata=bound))
        return register.add_device(DeviceWish("dev1")).secret


@pytest.fixture(scope="module")
def server(folder: Path, secret: str) -> Iterator[ServerProcess]:
    with server_process(folder / "server.db", limited=False) as server:
        yield server


def claims(token: Token) -> dict[str, Any]:
    payload = token.access_token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return found


@pytest.mark.parametrize("method", [ClientSecretBasic, ClientSecretPost])
def test_a_device_is_known_by_its_secret(
    server: ServerProcess, secret: str, method: type[ClientSecretBasic]
) -> None:
    auth = method(client_id="dev1", client_secret=secret)
    token = TokenSource(server.url, auth=auth).get()
    assert claims(token)["sub"] == "dev1"
    assert claims(token)["exp"] - claims(token)["iat"] == token.lifetime


def test_a_device_is_known_by_what_it_signs(server: ServerProcess, secret: str) -> None:
    auth = PrivateKeyJwt(client_id="signer", audience=server.url, key=KEY)
    source = TokenSource(server.url, auth=auth)
    assert claims(source.get())["sub"] == "signer"
    assert claims(source.renew().result(10))["sub"] == "signer"  # a new assertion


def test_a_token_is_bound_to_the_devices_key_by_dpop_with_the_servers_nonce(
    server: ServerProcess, secret: str
) -> None:
    auth = PrivateKeyJwt(client_id="bound", audience=server.url, key=KEY)
    source = TokenSource(server.url, auth=auth, dpop=KEY)
    for token in (source.get(), source.renew().result(10)):
        assert token.token_type == "DPoP"
        assert claims(token)["cnf"] == {"jkt": KEY.kid}
    with pytest.raises(TokenRequestError):
        TokenSource(server.url, auth=auth).get()


def test_an_application_passes_on_a_devices_password_and_rotates_what_it_gets(
    server: ServerProcess, secret: str, tmp_path: Path
) -> None:
    store = FileStore(tmp_path / "token")
    grant = Password(username="dev1", password=secret)
    source = TokenSource(server.url, client_id="app", grant=grant, store=store)
    tokens = [source.get(), source.renew().result(10), source.renew().result(10)]
    assert {claims(token)["sub"] for token in tokens} == {"dev1"}
    assert len({token.refresh_token for token in tokens}) == 3
    assert store.load() == tokens[-1]
    # The same without the password: a device that was given its first refresh token.
    given = RefreshToken(refresh_token=tokens[-1].refresh_token or "")
    other = TokenSource(server.url, client_id="app", grant=given)
    assert claims(other.get())["sub"] == "dev1"
    assert other.renew().result(10).refresh_token != given.refresh_token


def test_a_family_that_died_is_followed_by_the_password(server: ServerProcess, secret: str) -> None:
    grant = Password(username="dev1", password=secret)
    source = TokenSource(server.url, client_id="app", grant=grant)
    first = source.get()
    ended = httpx.post(
        f"{server.url}/oauth2/revoke",
        data={"token": first.refresh_token or "", "client_id": "app"},
    )
    assert ended.status_code == 200
    assert claims(source.renew().result(10))["sub"] == "dev1"


def test_a_person_approves_a_device_once(
    server: ServerProcess, secret: str, tmp_path: Path
) -> None:
    invited: list[Invitation] = []

    def prompt(invitation: Invitation) -> None:
        invited.append(invitation)
        threading.Thread(target=approve, args=(server, invitation.user_code)).start()

    def made() -> TokenSource:
        return TokenSource(
            server.url,
            client_id="setup",
            grant=DeviceCode(prompt=prompt),
            parameters={"login_hint": "dev1"},
            store=FileStore(tmp_path / "token"),
        )

    assert claims(made().get(60))["sub"] == "dev1"
    # The next run needs nobody.
    assert claims(made().renew().result(10))["sub"] == "dev1"
    assert [each.verification_uri for each in invited] == [f"{server.url}/device"]
    assert claims(made().renew(anew=True).result(60))["sub"] == "dev1"
    assert len(invited) == 2


def approve(server: ServerProcess, user_code: str) -> None:
    async def work() -> None:
        async with httpx.AsyncClient(base_url=server.url) as http:
            browser = Approver(http, server.url)
            await browser.sign_in()
            await browser.decide(user_code, "approve")

    asyncio.run(work())


def test_a_device_is_known_by_its_certificate(tmp_path: Path) -> None:
    name = "dev1.example"
    with direct(tmp_path) as served:
        with served.register() as register:
            identity = CertificateIdentity(san_dns=name)
            wish = DeviceWish("dev1", certificate=identity, certificate_bound=True)
            register.add_device(wish)
        shown = signed(named("any"), issuer=served.place.clients, names=[x509.DNSName(name)])
        certificate, key = shown.files(tmp_path, "client")
        both = tmp_path / "both.pem"
        both.write_text(Path(certificate).read_text() + Path(key).read_text())
        options: dict[str, Any] = {"client_id": "dev1", "ca": served.place.ca}
        token = TokenSource(served.url, certificate=both, **options).get()
        assert claims(token)["cnf"] == {"x5t#S256": shown.thumbprint}
        with pytest.raises(TokenRequestError):
            TokenSource(served.url, **options).get()
        with pytest.raises(TokenUnavailableError, match="certificate is not trusted"):
            TokenSource(served.url, client_id="dev1").get()


def test_an_assertion_of_a_trusted_issuer_stands_alone(
    running: Running, secrets: dict[str, str]
) -> None:
    grant = JWTBearer(assertion=lambda: assertion(running))
    source = TokenSource(running.url, grant=grant, ca=running.authority.ca)
    assert claims(source.get())["sub"] == "dev1"
    assert claims(source.renew().result(10))["sub"] == "dev1"

# SPDX-License-Identifier: Apache-2.0
"""DPoP by clients that are not ours, over TLS: requests_oauth2client; joserfc and curl."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey
from requests_oauth2client import DPoPKey, DPoPToken, InvalidGrant, OAuth2Client

from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.register import Register
from keyfob.server.wishes import ApplicationWish, DeviceWish
from tests.server.test_serve import Running, running
from tests.server.world import claims_of

pytestmark = pytest.mark.sqlite

__all__ = ["running"]  # the fixture


@pytest.fixture
def session(running: Running) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.trust_env = False  # the environment may name another CA
        made.headers["Connection"] = "close"
        made.verify = str(running.authority.ca)
        yield made


def client_of(
    running: Running, session: requests.Session, name: str, **options: Any
) -> OAuth2Client:
    return OAuth2Client(f"{running.url}/oauth2/token", client_id=name, session=session, **options)


def bound_to(running: Running, token: str) -> Any:
    _, jwks = running.curl(f"{running.url}/oauth2/jwks")
    return claims_of(token, jwks)[1]["cnf"]


@pytest.mark.parametrize("alg", ["ES256", "RS256", "EdDSA"])
def test_requests_oauth2client_follows_the_nonce_and_gets_a_bound_token(
    running: Running, session: requests.Session, alg: str
) -> None:
    with Register.open(running.database) as register:
        bound = ClientMetadata(dpop_bound_access_tokens=True)
        secret = register.add_device(DeviceWish("dev1", metadata=bound)).secret
    client = client_of(
        running, session, "dev1", client_secret=secret, dpop_bound_access_tokens=True, dpop_alg=alg
    )
    for _ in range(2):
        token = client.client_credentials()
        assert isinstance(token, DPoPToken)
        assert bound_to(running, token.access_token) == {"jkt": token.dpop_key.dpop_jkt}
    assert {event.outcome for event in running.events} == {"issued"}


def test_requests_oauth2client_refreshes_with_its_key_and_with_no_other(
    running: Running, session: requests.Session
) -> None:
    with Register.open(running.database) as register:
        register.add_application(ApplicationWish("phone", public=True, refresh=True))
        secret = register.add_device("dev1").secret
    client = client_of(running, session, "phone")
    key = DPoPKey.generate()
    token = client.resource_owner_password("dev1", secret, dpop=True, dpop_key=key)
    assert isinstance(token, DPoPToken)
    again = client.refresh_token(token)  # which has its key
    assert isinstance(again, DPoPToken)
    assert bound_to(running, again.access_token) == {"jkt": key.dpop_jkt}
    stolen = {"grant_type": "refresh_token", "refresh_token": again.refresh_token}
    with pytest.raises(InvalidGrant):
        client.token_request(stolen, dpop_key=DPoPKey.generate())
    assert running.events[-1].reason == "refresh_token_of_another_key"


def joserfc_proof(key: Key, url: str, nonce: str | None) -> str:
    claims = {"jti": secrets.token_urlsafe(16), "htm": "POST", "htu": url, "iat": int(time.time())}
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.as_dict(private=False)}
    if isinstance(key, OKPKey):
        header["alg"] = "Ed25519"
    if nonce is not None:
        claims["nonce"] = nonce
    return jwt.encode(header, claims, key, algorithms=[str(header["alg"])])


@pytest.mark.parametrize("make", [lambda: ECKey.generate_key("P-256"), OKPKey.generate_key])
def test_curl_with_a_proof_of_joserfc_gets_a_token_bound_to_its_key(
    running: Running, make: Any, tmp_path: Path
) -> None:
    with Register.open(running.database) as register:
        secret = register.add_device("dev1").secret
    key, url, heads = make(), f"{running.url}/oauth2/token", tmp_path / "headers"

    def post(nonce: str | None) -> Any:
        return running.curl(
            "--dump-header", str(heads), "--user", f"dev1:{secret}",
            "-H", f"DPoP: {joserfc_proof(key, url, nonce)}",
            "-d", "grant_type=client_credentials", url,
        )  # fmt: skip

    status, document = post(None)
    assert (status, document["error"]) == (400, "use_dpop_nonce")
    lines = heads.read_text().splitlines()
    found = [line.split(": ")[1] for line in lines if line.lower().startswith("dpop-nonce:")]
    status, document = post(found[0])
    assert (status, document["token_type"]) == (200, "DPoP")
    assert bound_to(running, document["access_token"]) == {"jkt": key.thumbprint()}


def test_two_headers_are_refused_as_they_come_over_the_wire(running: Running) -> None:
    with Register.open(running.database) as register:
        secret = register.add_device("dev1").secret
    url, key = f"{running.url}/oauth2/token", ECKey.generate_key("P-256")
    proof = joserfc_proof(key, url, None)
    status, document = running.curl(
        "--user", f"dev1:{secret}", "-H", f"DPoP: {proof}", "-H", f"dpop: {proof}",
        "-d", "grant_type=client_credentials", url,
    )  # fmt: skip
    assert (status, document["error"]) == (400, "invalid_dpop_proof")
    assert running.events[-1].reason == "dpop_repeated"

# SPDX-License-Identifier: Apache-2.0
"""The grants in the hands of clients that are not ours: Authlib, requests_oauth2client, curl."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from authlib.integrations.requests_client import (  # type: ignore[import-untyped]
    AssertionSession,
    OAuth2Session,
)
from joserfc.jwk import ECKey
from requests_oauth2client import OAuth2Client

from keyfob.server.register import Register
from keyfob.server.serve import Listen, make_server
from keyfob.server.settings import ServerSettings
from keyfob.server.trusted_issuers.settings import TrustedAssertionIssuer
from keyfob.server.wishes import DeviceWish, Rights
from keyfob.tokens.sign import SigningKey
from tests.free_ports import free_port
from tests.server.assertions import jwks_of, signed
from tests.server.certificates import Authority
from tests.server.granting import ACCESS_TOKEN, JWT, JWT_BEARER, TOKEN_EXCHANGE
from tests.server.test_serve import Running
from tests.server.world import claims_of

Clients = Callable[[str, str], OAuth2Client]
pytestmark = pytest.mark.sqlite

CLOUD = "https://cloud.example"
KEY, GATEWAY_KEY = SigningKey.generate(), SigningKey.generate()
RESOURCE = "https://broker.example/"
DETAIL = {
    "type": "mqtt",
    "locations": ["mqtts://broker.example"],
    "actions": ["publish"],
    "topics": ["site/gw-1/t"],
}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def jwks_uri(tmp_path: Path) -> Iterator[str]:
    """Serve the issuer's keys, as its web server would."""
    folder = tmp_path / "issuer"
    folder.mkdir()
    (folder / "jwks").write_bytes(jwks_of(KEY))
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/jwks"
        server.shutdown()
        thread.join(30)


@pytest.fixture
def running(tmp_path: Path, database: Path, jwks_uri: str) -> Iterator[Running]:
    authority = Authority(tmp_path)
    authority.certify(tmp_path / "server.pem", tmp_path / "server.key")
    port = free_port()
    listen = Listen(
        host="localhost",
        port=port,
        certificate=tmp_path / "server.pem",
        private_key=tmp_path / "server.key",
    )
    cloud = TrustedAssertionIssuer(
        name="cloud", issuer=CLOUD, devices=("dev*",), jwks_uri=jwks_uri, without_client=True
    )
    settings = ServerSettings(
        issuer=f"https://localhost:{port}",
        audience="mqtt",
        database=database,
        resources={RESOURCE: "broker"},
        trusted_issuers=(cloud,),
    )
    ready = threading.Event()
    server = make_server(settings, listen, on_ready=ready.set)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert ready.wait(30)
    made = Running(server, thread, authority, listen, database, [])
    yield made
    made.stop()


@pytest.fixture
def secrets(running: Running) -> dict[str, str]:
    """Register a gateway with a sub-device, a device and an application; return the secrets."""
    with Register.open(running.database) as register:
        found = {
            "gw": register.add_device(DeviceWish("gw", rights=Rights(publish=["site/#"]))).secret,
            "gw-1": register.add_device(
                DeviceWish("gw-1", rights=Rights(publish=["site/{device}/#"]))
            ).secret,
            "dev1": register.add_device(
                DeviceWish("dev1", rights=Rights(publish=["site/{device}"]))
            ).secret,
            "app": str(register.add_application("app").secret),
        }
        register.set_device_jwks("gw", jwks_of(GATEWAY_KEY))
        register.allow_grant("gw", "token-exchange", act_for=["gw-*"])
        register.allow_grant("app", "jwt-bearer")
        register.allow_grant("dev1", "jwt-bearer")
    return found


@pytest.fixture
def client(running: Running) -> Iterator[Callable[[str, str], OAuth2Client]]:
    """Make clients of requests_oauth2client; their connections are closed at the end."""
    with requests.Session() as session:
        session.verify, session.trust_env = str(running.authority.ca), False
        url = f"{running.url}/oauth2/token"
        yield lambda name, secret: OAuth2Client(url, (name, secret), session=session)


def claims(running: Running, token: str) -> dict[str, Any]:
    jwks = httpx.get(f"{running.url}/oauth2/jwks", verify=running.context()).json()
    return claims_of(token, jwks)[1]


def assertion(running: Running, **changes: Any) -> str:
    now = int(time.time())
    made = {
        "iss": CLOUD, "sub": "dev1", "aud": running.url, "iat": now, "exp": now + 60,
        "jti": f"{time.monotonic_ns()}",
    }  # fmt: skip
    return signed(KEY, made | changes)


# JWT bearer


def test_requests_oauth2client_gets_a_token_by_an_assertion(
    running: Running, secrets: dict[str, str], client: Clients
) -> None:
    app = client("app", secrets["app"])
    token = app.jwt_bearer(assertion(running), resource=RESOURCE)
    said = claims(running, token.access_token)
    assert (said["sub"], said["client_id"], said["aud"]) == ("dev1", "app", "broker")


def test_authlibs_assertion_session_needs_no_client(
    running: Running,
    secrets: dict[str, str],
) -> None:
    assert secrets["dev1"]
    with AssertionSession(
        token_endpoint=f"{running.url}/oauth2/token",
        issuer=CLOUD,
        subject="dev1",
        audience=running.url,
        grant_type=JWT_BEARER,
        claims={"jti": "authlib-1"},
        key=ECKey.import_key(KEY.to_pem()),
        header={"alg": "ES256", "kid": KEY.kid},
    ) as made:
        made.verify, made.trust_env = str(running.authority.ca), False
        token = made.refresh_token()
    said = claims(running, token["access_token"])
    assert (said["sub"], said["client_id"]) == ("dev1", "dev1")


def test_curl_shows_an_assertion_once(running: Running, secrets: dict[str, str]) -> None:
    assert secrets["dev1"]
    text = assertion(running)
    command = ["-d", f"grant_type={JWT_BEARER}", "-d", f"assertion={text}"]
    status, document = running.curl(*command, f"{running.url}/oauth2/token")
    assert (status, document["expires_in"]) == (200, 3600)
    status, document = running.curl(*command, f"{running.url}/oauth2/token")
    assert (status, document["error"]) == (400, "invalid_grant")


# Token exchange


def test_requests_oauth2client_exchanges_a_gateways_token(
    running: Running, secrets: dict[str, str], client: Clients
) -> None:
    gateway = client("gw", secrets["gw"])
    own = gateway.client_credentials(scope=None)
    token = gateway.token_exchange(
        subject_token=own.access_token,
        subject_token_type=ACCESS_TOKEN,
        requested_subject="gw-1",
    )
    said = claims(running, token.access_token)
    assert (said["sub"], said["client_id"], said["act"]) == ("gw-1", "gw", {"sub": "gw"})
    assert token.issued_token_type == ACCESS_TOKEN


def test_requests_oauth2client_exchanges_a_signed_statement_with_an_actor_token(
    running: Running, secrets: dict[str, str], client: Clients
) -> None:
    gateway = client("gw", secrets["gw"])
    own = gateway.client_credentials(scope=None)
    now = int(time.time())
    statement = signed(
        GATEWAY_KEY,
        {"iss": "gw", "sub": "gw-1", "aud": running.url, "exp": now + 60, "jti": "s1"},
    )
    token = gateway.token_exchange(
        subject_token=statement,
        subject_token_type=JWT,
        actor_token=own.access_token,
        actor_token_type=ACCESS_TOKEN,
        scope="mqtt.connect",
    )
    said = claims(running, token.access_token)
    assert (said["sub"], said["scope"]) == ("gw-1", "mqtt.connect")


def test_authlib_exchanges_a_gateways_token(running: Running, secrets: dict[str, str]) -> None:
    with OAuth2Session("gw", secrets["gw"]) as made:
        made.verify, made.trust_env = str(running.authority.ca), False
        url = f"{running.url}/oauth2/token"
        own = made.fetch_token(url, grant_type="client_credentials")
        token = made.fetch_token(
            url,
            grant_type=TOKEN_EXCHANGE,
            subject_token=own["access_token"],
            subject_token_type=ACCESS_TOKEN,
            requested_subject="gw-1",
        )
    assert claims(running, token["access_token"])["act"] == {"sub": "gw"}


def test_curl_exchanges_as_the_documentation_says(
    running: Running, secrets: dict[str, str]
) -> None:
    url, user = f"{running.url}/oauth2/token", f"gw:{secrets['gw']}"
    _, own = running.curl("--user", user, "-d", "grant_type=client_credentials", url)
    status, document = running.curl(
        "--user", user,
        "-d", f"grant_type={TOKEN_EXCHANGE}",
        "-d", f"subject_token={own['access_token']}",
        "-d", f"subject_token_type={ACCESS_TOKEN}",
        "-d", "requested_subject=gw-1",
        url,
    )  # fmt: skip
    assert (status, document["scope"]) == (200, "mqtt.connect mqtt.publish:site/gw-1/#")


# Resources and details


def test_requests_oauth2client_asks_for_a_resource_and_for_details(
    running: Running, secrets: dict[str, str], client: Clients
) -> None:
    gateway = client("gw", secrets["gw"])
    token = gateway.client_credentials(
        None, resource=RESOURCE, authorization_details=json.dumps([DETAIL])
    )
    said = claims(running, token.access_token)
    assert (said["aud"], said["authorization_details"]) == ("broker", [DETAIL])
    assert said["scope"] == "mqtt.connect"


def test_authlib_asks_for_a_resource_and_for_details(
    running: Running, secrets: dict[str, str]
) -> None:
    with OAuth2Session("gw", secrets["gw"]) as made:
        made.verify, made.trust_env = str(running.authority.ca), False
        token = made.fetch_token(
            f"{running.url}/oauth2/token",
            grant_type="client_credentials",
            resource=RESOURCE,
            authorization_details=json.dumps([DETAIL]),
        )
    assert token["authorization_details"] == [DETAIL]
    assert claims(running, token["access_token"])["aud"] == "broker"


OAUTH4WEBAPI = os.environ.get("KEYFOB_OAUTH4WEBAPI", "")


@pytest.mark.skipif(
    not (OAUTH4WEBAPI and shutil.which("node")),
    reason="KEYFOB_OAUTH4WEBAPI names no build/index.js of oauth4webapi, or there is no node",
)
def test_oauth4webapi_exchanges_tokens_and_shows_assertions(
    running: Running, secrets: dict[str, str]
) -> None:
    script = Path(__file__).with_name("oauth4webapi_grants.mjs")
    done = subprocess.run(
        ["node", str(script), OAUTH4WEBAPI, running.url, secrets["gw"], secrets["app"],
         assertion(running)],
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(running.authority.ca)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["exchanged"]["issued_token_type"] == ACCESS_TOKEN
    assert claims(running, said["exchanged"]["access_token"])["act"] == {"sub": "gw"}
    assert claims(running, said["vouched"]["access_token"])["aud"] == "broker"

# SPDX-License-Identifier: Apache-2.0
"""The device code grant in the hands of clients that are not ours."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from requests_oauth2client import (
    AuthorizationPending,
    DeviceAuthorizationPollingJob,
    InvalidGrant,
    OAuth2Client,
    SlowDown,
)

from keyfob.server.operator_register import OperatorRegister
from keyfob.server.register import Register
from keyfob.server.stores.place import Place
from keyfob.server.wishes import ApplicationWish, DeviceWish, Rights
from tests.server.approving import DEVICE_CODE, PASSWORD, Approver, Page
from tests.server.refresh_servers import ServerProcess, server_process

SCOPE = "mqtt.connect mqtt.publish:dev1/#"


@pytest.fixture
def secret(database: Place) -> str:
    with OperatorRegister.open(database) as operators:
        operators.add("alice", PASSWORD)
    with Register.open(database) as register:
        register.add_device(DeviceWish("dev1", rights=Rights(publish=["{device}/#"])))
        register.add_application(
            ApplicationWish("tool", public=True, device_code=True, refresh=True)
        )
        return register.add_application(ApplicationWish("setup", device_code=True)).secret or ""


@pytest.fixture
def server(database: Place, secret: str) -> Iterator[ServerProcess]:
    with server_process(database) as server:
        yield server


def decide(server: ServerProcess, user_code: str, decision: str = "approve") -> None:
    """Sign in and decide, as somebody with a browser does."""

    async def work() -> None:
        async with httpx.AsyncClient(base_url=server.url) as http:
            browser = Approver(http, server.url)
            await browser.sign_in()
            page = await browser.decide(user_code, decision)
            assert ("Approved" if decision == "approve" else "Denied") in page.text

    asyncio.run(work())


def metadata(url: str) -> Any:
    return httpx.get(f"{url}/.well-known/oauth-authorization-server").json()


@pytest.mark.sqlite
def test_requests_oauth2client_runs_the_whole_flow(server: ServerProcess, secret: str) -> None:
    client = OAuth2Client(
        token_endpoint=metadata(server.url)["token_endpoint"],
        device_authorization_endpoint=metadata(server.url)["device_authorization_endpoint"],
        client_id="setup",
        client_secret=secret,
        testing=True,
    )
    begun = client.authorize_device(login_hint="dev1")
    assert begun.verification_uri == f"{server.url}/device"
    with pytest.raises(AuthorizationPending):
        client.device_code(begun)
    with pytest.raises(SlowDown):
        client.device_code(begun)
    decide(server, begun.user_code)
    job = DeviceAuthorizationPollingJob(client, begun, interval=1)
    token = job()
    assert token is not None
    assert token.scope == SCOPE
    with pytest.raises(InvalidGrant):
        client.device_code(begun)


@pytest.mark.sqlite
def test_what_was_allowed_is_still_allowed_after_the_server_was_killed(
    server: ServerProcess, secret: str
) -> None:
    def ask(path: str, **form: str) -> Any:
        url = f"{server.url}/oauth2/{path}"
        return httpx.post(url, data=form, auth=("setup", secret)).json()

    waiting = ask("device_authorization", login_hint="dev1")
    approved = ask("device_authorization", login_hint="dev1")
    decide(server, approved["user_code"])
    server.kill_and_restart()
    tokens = [
        ask("token", grant_type=DEVICE_CODE, device_code=one["device_code"])
        for one in (waiting, approved, approved)
    ]
    assert tokens[0]["error"] == "authorization_pending"
    assert tokens[1]["scope"] == SCOPE
    assert tokens[2]["error"] == "invalid_grant"
    decide(server, waiting["user_code"], "deny")
    server.kill_and_restart()
    denied = ask("token", grant_type=DEVICE_CODE, device_code=waiting["device_code"])
    assert denied["error"] == "access_denied"


@pytest.mark.sqlite
def test_authlib_gets_a_token_and_renews_it(server: ServerProcess) -> None:
    url = f"{server.url}/oauth2/token"
    with AuthlibSession("tool", token_endpoint_auth_method="none") as client:
        answer = client.post(
            f"{server.url}/oauth2/device_authorization",
            data={"client_id": "tool", "login_hint": "dev1"},
            withhold_token=True,
        )
        begun = answer.json()
        decide(server, begun["user_code"])
        token = client.fetch_token(url, grant_type=DEVICE_CODE, device_code=begun["device_code"])
        assert token["scope"] == SCOPE
        renewed = client.refresh_token(url, refresh_token=token["refresh_token"])
        assert renewed["refresh_token"] != token["refresh_token"]


@pytest.mark.sqlite
def test_curl_does_as_the_documentation_says(server: ServerProcess, secret: str) -> None:
    def curl(path: str, *parameters: str) -> Any:
        command = ["curl", "--silent", "--show-error", "--user", f"setup:{secret}"]
        command += [word for each in parameters for word in ("-d", each)]
        done = subprocess.run(
            [*command, f"{server.url}/oauth2/{path}"], capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    begun = curl("device_authorization", "login_hint=dev1")
    poll = ("token", f"grant_type={DEVICE_CODE}", f"device_code={begun['device_code']}")
    assert curl(*poll)["error"] == "authorization_pending"
    assert curl(*poll)["error"] == "slow_down"
    decide(server, begun["user_code"])
    assert curl(*poll)["scope"] == SCOPE


PATHS = st.sampled_from(["sign-in", "request", "decision", "sign-out", "style.css", ""])
FIELDS = st.sampled_from(
    ["token", "user_code", "device", "decision", "compared", "shown", "username", "password"]
)
TEXTS = st.text(max_size=70) | st.sampled_from(
    [
        "approve",
        "deny",
        "yes",
        "dev1",
        "BCDF-GHJK",
        "alice",
        "\0",
        "<b>",
        "{{7*7}}",
        "%",
        "x" * 4_000,
    ]
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, str]]:
    """A signed-in browser before a server of its own, and the token of its forms."""
    database = tmp_path_factory.mktemp("fuzzed") / "server.db"
    with OperatorRegister.open(database) as operators:
        operators.add("alice", PASSWORD)
    with (
        server_process(database) as server,
        httpx.Client(base_url=server.url, headers={"Origin": server.url}) as http,
    ):
        form = Page(http.get("/device")).form("sign-in")
        fields = {**form.values, "username": "alice", "password": PASSWORD}
        assert http.post(form.action, data=fields).status_code == 303
        yield http, Page(http.get("/device")).form("request").values["token"]


@settings(max_examples=150, deadline=None)
@given(
    path=PATHS,
    method=st.sampled_from(["GET", "POST"]),
    fields=st.dictionaries(FIELDS, TEXTS, max_size=5),
    honest=st.booleans(),
)
@pytest.mark.sqlite
def test_no_form_makes_a_page_fail(
    fuzzed: tuple[httpx.Client, str],
    path: str,
    method: str,
    fields: dict[str, str],
    honest: bool,
) -> None:
    http, token = fuzzed
    if path in ("sign-in", "sign-out"):
        fields.pop("token", None)  # neither hash all day nor leave
    elif honest:
        fields["token"] = token
    encoded = urlencode(fields, errors="surrogatepass").encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = http.request(method, f"/device/{path}".rstrip("/"), content=encoded, headers=headers)
    assert answer.status_code in (200, 303, 400, 403, 405, 413, 429)
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_two_processes_on_one_database_give_one_token(
    database: Place, server: ServerProcess, secret: str
) -> None:
    def ask(url: str, path: str, **form: str) -> httpx.Response:
        return httpx.post(f"{url}/oauth2/{path}", data=form, auth=("setup", secret))

    with server_process(database) as other, ThreadPoolExecutor(20) as threads:
        begun = ask(server.url, "device_authorization", login_hint="dev1").json()
        poll = {"grant_type": DEVICE_CODE, "device_code": begun["device_code"]}
        assert ask(other.url, "token", **poll).json()["error"] == "authorization_pending"
        assert ask(other.url, "token", **poll).json()["error"] == "slow_down"
        decide(other, begun["user_code"])
        urls = [server.url, other.url] * 20
        answers = list(threads.map(lambda url: ask(url, "token", **poll).status_code, urls))
    assert sorted(answers) == [200] + [400] * 39

# SPDX-License-Identifier: Apache-2.0
"""A device code gives what a person approved, however the client asks (RFC 8707, RFC 9396)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from keyfob.server.settings import ServerSettings
from keyfob.server.wishes import ChangeWish, DeviceWish, Rights
from tests.server.approving import DEVICE_CODE, Gateway, add_operator, approver, gateway
from tests.server.world import World, claims_of

pytestmark = pytest.mark.anyio

APPROVED = "mqtt.connect mqtt.publish:dev1/a/#"
REGISTERED = ["{device}/#"]
SERVER, OTHER = "urn:mqtt", "https://b.example/"


@pytest.fixture
def settings(settings: ServerSettings) -> ServerSettings:
    return replace(
        settings,
        audience=SERVER,
        resources={OTHER: "broker-b"},
        grant_lifetimes={DEVICE_CODE: 120},
    )


@pytest.fixture
def client(world: World) -> Gateway:
    add_operator(world)
    world.register.add_device(
        DeviceWish("dev1", rights=Rights(publish=REGISTERED, subscribe=REGISTERED))
    )
    return gateway(world, public=True, refresh=True)


def details(topic: str, action: str = "publish") -> str:
    return json.dumps([{"type": "mqtt", "actions": [action], "topics": [topic]}])


async def approved(world: World, client: Gateway, **more: str) -> str:
    """Have ``APPROVED`` approved, and return the device code."""
    begun = await client.begun(**({"login_hint": "dev1", "scope": APPROVED} | more))
    async with approver(world) as browser:
        await browser.sign_in()
        assert "Approved" in (await browser.decide(begun["user_code"])).text
    return str(begun["device_code"])


async def claims(world: World, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    jwks = (await world.http.get("/oauth2/jwks")).json()
    return claims_of(answer.json()["access_token"], jwks)[1]


async def refreshed(world: World, token: str, **more: str) -> httpx.Response:
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "setup"}
    return await world.http.post("/oauth2/token", data=form | more)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"scope": "mqtt.publish:dev1/b"}, "invalid_scope"),
        ({"scope": "mqtt.subscribe:dev1/a/x"}, "invalid_scope"),
        ({"authorization_details": details("dev1/b")}, "invalid_authorization_details"),
        ({"authorization_details": details("dev1/#")}, "invalid_authorization_details"),
        (
            {"authorization_details": details("dev1/a/x", "subscribe")},
            "invalid_authorization_details",
        ),
        (
            {"authorization_details": details("dev1/b"), "scope": "mqtt.connect"},
            "invalid_authorization_details",
        ),
        ({"resource": OTHER}, "invalid_target"),
        ({"resource": "https://unknown.example/"}, "invalid_target"),
    ],
)
async def test_more_than_was_approved_is_refused_and_uses_no_code_up(
    world: World, client: Gateway, asked: dict[str, str], error: str
) -> None:
    # All of it is registered: only the approval says no.
    code = await approved(world, client)
    answer = await client.poll(code, **asked)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    got = await claims(world, await client.poll(code))
    assert (got["scope"], got["aud"]) == (APPROVED, SERVER)
    assert "authorization_details" not in got


async def test_one_more_resource_beside_the_servers_own_is_refused(
    world: World, client: Gateway
) -> None:
    code = await approved(world, client)
    form = [("grant_type", DEVICE_CODE), ("device_code", code), ("client_id", "setup")]
    body = httpx.QueryParams([*form, ("resource", SERVER), ("resource", OTHER)])
    answer = await world.http.post(
        "/oauth2/token",
        content=str(body),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.json()["error"] == "invalid_target"
    assert world.events[-1].reason == "target_exceeded"


async def test_details_within_the_approved_scopes_narrow_the_token_and_its_refreshes(
    world: World, client: Gateway
) -> None:
    code = await approved(world, client)
    answer = await client.poll(code, authorization_details=details("dev1/a/x"), resource=SERVER)
    got = await claims(world, answer)
    assert (got["scope"], got["aud"]) == ("mqtt.connect", SERVER)
    assert got["authorization_details"] == json.loads(details("dev1/a/x"))
    again = await refreshed(world, answer.json()["refresh_token"])
    assert (await claims(world, again))["authorization_details"] == got["authorization_details"]
    wider = await refreshed(world, again.json()["refresh_token"], scope="mqtt.publish:dev1/a/y")
    assert wider.json()["error"] == "invalid_scope"


async def test_a_refresh_reaches_no_other_resource_than_was_approved(
    world: World, client: Gateway
) -> None:
    answer = await client.poll(await approved(world, client))
    token = answer.json()["refresh_token"]
    assert (await refreshed(world, token, resource=OTHER)).json()["error"] == "invalid_target"
    assert (await claims(world, await refreshed(world, token)))["scope"] == APPROVED


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"authorization_details": details("dev1/a/x")}, "invalid_authorization_details"),
        ({"authorization_details": "nonsense"}, "invalid_authorization_details"),
        ({"resource": OTHER}, "invalid_target"),
        ({"resource": f"{SERVER} {OTHER}"}, "invalid_request"),
        ({"resource": "nonsense"}, "invalid_target"),
    ],
)
async def test_what_the_page_would_not_show_cannot_be_asked_for(
    client: Gateway, asked: dict[str, str], error: str
) -> None:
    answer = await client.begin(login_hint="dev1", **asked)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_the_servers_own_resource_may_be_named_from_the_beginning(
    world: World, client: Gateway
) -> None:
    code = await approved(world, client, resource=SERVER)
    assert (await claims(world, await client.poll(code, resource=SERVER)))["aud"] == SERVER


async def test_tokens_by_a_device_code_live_as_long_as_its_ceiling(
    world: World, client: Gateway
) -> None:
    answer = await client.poll(await approved(world, client))
    assert answer.json()["expires_in"] == 120


async def test_rights_of_a_group_are_approved_and_go_with_the_group(world: World) -> None:
    add_operator(world)
    world.register.fleet.add_group("sensors", publish=REGISTERED)
    world.register.add_device(DeviceWish("dev1", groups=["sensors"]))
    client = gateway(world, public=True)
    first = await approved(world, client)
    assert (await claims(world, await client.poll(first)))["scope"] == APPROVED
    second = await approved(world, client)
    world.register.change_device("dev1", ChangeWish(out_of=["sensors"]))
    assert (await claims(world, await client.poll(second)))["scope"] == "mqtt.connect"


async def test_a_device_that_waits_to_be_activated_cannot_be_approved(world: World) -> None:
    add_operator(world)
    world.register.add_device(DeviceWish("dev1", rights=Rights(publish=REGISTERED), pending=True))
    client = gateway(world, public=True)
    begun = await client.begun(login_hint="dev1")
    async with approver(world) as browser:
        await browser.sign_in()
        page = await browser.compare(begun["user_code"])
        assert "not activated yet" in page.text
        form = page.form("decision")
        page = await browser.submit(form, compared="yes", decision="approve")
        assert (page.status, "Approved" in page.text) == (400, False)
    assert await client.error(begun["device_code"]) == "authorization_pending"


async def test_who_loses_the_grant_fetches_nothing_that_was_approved(
    world: World, client: Gateway
) -> None:
    code = await approved(world, client)
    world.register.withdraw_grant("setup", "device-code")
    assert (await client.poll(code)).json()["error"] == "unauthorized_client"
    assert (await client.begin()).json()["error"] == "unauthorized_client"
    world.register.allow_grant("setup", "device-code")
    assert (await client.poll(code)).status_code == 200

# SPDX-License-Identifier: Apache-2.0
"""Resource indicators (RFC 8707): whom a token is for, as registered, and never for more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from keyfob.errors import ConfigError
from keyfob.server.resources import Resources
from keyfob.server.settings import ServerSettings
from keyfob.server.wishes import DeviceWish, Rights
from tests.server.granting import TOKEN_EXCHANGE, Fleet
from tests.server.test_authorization_details import Login, claims
from tests.server.world import FORM, World

pytestmark = pytest.mark.anyio

A, B = "https://a.example/", "urn:broker:b"


@pytest.fixture
def settings(settings: ServerSettings) -> ServerSettings:
    return replace(
        settings,
        resources={A: "broker-a", B: "broker-b"},
        grant_lifetimes={TOKEN_EXCHANGE: 120, "refresh_token": 60},
    )


async def ask(world: World, *resources: str) -> httpx.Response:
    secret = world.register.add_device(
        DeviceWish("dev1", rights=Rights(publish=["devices/{device}/#"]))
    ).secret
    form = [("grant_type", "client_credentials"), ("client_id", "dev1"), ("client_secret", secret)]
    body = httpx.QueryParams([*form, *(("resource", one) for one in resources)])
    return await world.http.post("/oauth2/token", content=str(body), headers=FORM)


@pytest.mark.parametrize(
    ("resources", "audience"),
    [
        ((), "mqtt"),
        ((A,), "broker-a"),
        ((B,), "broker-b"),
        ((A, B), ["broker-a", "broker-b"]),
        ((A, A), "broker-a"),
        (("", A), "broker-a"),
    ],
)
async def test_a_token_is_for_the_resources_that_were_asked_for(
    world: World, resources: tuple[str, ...], audience: Any
) -> None:
    assert (await claims(world, await ask(world, *resources)))["aud"] == audience


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        (("https://c.example/",), "target_unknown"),
        (("https://a.example",), "target_unknown"),
        (("broker-a",), "target_malformed"),
        (("mqtt",), "target_malformed"),
        (("/path",), "target_malformed"),
        ((A + "#",), "target_malformed"),
        ((A + "#x",), "target_malformed"),
        ((A + "?" + "x" * 300,), "target_malformed"),
        ((A + "\u00e9",), "target_malformed"),
        ((A, "https://c.example/"), "target_unknown"),
    ],
)
async def test_what_is_not_registered_is_an_invalid_target(
    world: World, resources: tuple[str, ...], reason: str
) -> None:
    answer = await ask(world, *resources)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")
    assert world.events[-1].reason == reason


async def test_one_value_never_reads_as_two(world: World) -> None:
    answer = await ask(world, f"{A} {B}")
    assert answer.json()["error"] == "invalid_request"


async def test_nothing_else_may_be_repeated(world: World) -> None:
    for name in ("scope", "grant_type", "authorization_details", "assertion", "subject_token"):
        body = f"grant_type=client_credentials&{name}=a&{name}=b"
        answer = await world.http.post("/oauth2/token", content=body, headers=FORM)
        assert answer.json()["error"] == "invalid_request"


async def test_tokens_for_any_of_our_audiences_are_introspected_and_revoked(world: World) -> None:
    _, asker = world.register.add_service("asker", scopes=["keyfob.introspection"])
    token = (await ask(world, B)).json()["access_token"]
    secret = world.register.rotate_secret("dev1").secret

    async def active() -> Any:
        form = {"token": token, "client_id": "asker", "client_secret": asker}
        return (await world.http.post("/oauth2/introspect", data=form)).json()

    document = await active()
    assert (document["active"], document["aud"]) == (True, "broker-b")
    form = {"token": token, "client_id": "dev1", "client_secret": secret}
    assert (await world.http.post("/oauth2/revoke", data=form)).status_code == 200
    assert await active() == {"active": False}


async def test_a_refresh_is_for_what_the_login_was_for_or_less(world: World) -> None:
    login = Login(world)
    await login.login(resource=A)
    assert (await claims(world, await login.refresh()))["aud"] == "broker-a"
    assert (await claims(world, await login.refresh(resource=A)))["aud"] == "broker-a"
    assert (await login.refresh(resource=B)).json()["error"] == "invalid_target"
    await login.login()
    assert (await claims(world, await login.refresh()))["aud"] == "mqtt"
    assert (await login.refresh(resource=A)).json()["error"] == "invalid_target"


async def test_an_exchanged_token_is_for_no_more_than_the_gateways(world: World) -> None:
    fleet = Fleet(world)
    token = await fleet.gateway_token(resource=A)
    assert (await fleet.claims(await fleet.exchange(token)))["aud"] == "broker-a"
    assert (await fleet.claims(await fleet.exchange(token, audience="broker-a")))["aud"] == (
        "broker-a"
    )
    for more in ({"audience": "broker-b"}, {"resource": B}, {"audience": "mqtt"}):
        assert (await fleet.exchange(token, **more)).json()["error"] == "invalid_target"
    answer = await fleet.exchange(token, audience="somebody")
    assert answer.json()["error"] == "invalid_target"


async def test_the_ceiling_of_a_grant_bounds_its_tokens_and_no_others(world: World) -> None:
    fleet, login = Fleet(world), Login(world)
    answer = await fleet.exchange(await fleet.gateway_token())
    assert answer.json()["expires_in"] == 120
    assert (await login.login()).json()["expires_in"] == 3600
    assert (await login.refresh()).json()["expires_in"] == 60


@pytest.mark.parametrize(
    ("uri", "audience"),
    [("a", "b"), ("https://a/#f", "b"), ("https://a/", ""), ("https://a/", "b" * 256), ("", "b")],
)
def test_a_resource_that_is_none_is_refused_at_the_start(uri: str, audience: str) -> None:
    with pytest.raises(ConfigError):
        Resources("mqtt", {uri: audience})

# SPDX-License-Identifier: Apache-2.0
"""What ends an exchanged token: its gateway, the token that was shown for it, its own device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from keyfob.server.app import create_app
from keyfob.server.limits import LimitSettings
from keyfob.server.register import Register
from keyfob.server.settings import ServerSettings
from keyfob.server.wishes import DeviceWish, Rights
from tests.server.granting import Fleet
from tests.server.world import Clock, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def fleet(world: World) -> Fleet:
    return Fleet(world)


async def introspected(fleet: Fleet, token: str) -> bool:
    world = fleet.world
    name = f"asker-{len(world.register.list_services())}"
    _, secret = world.register.add_service(name, scopes=["keyfob.introspection"])
    answer = await world.http.post(
        "/oauth2/introspect", data={"token": token, "client_id": name, "client_secret": secret}
    )
    return bool(answer.json()["active"])


async def exchanged(fleet: Fleet, token: str, device: str = "gw-1") -> str:
    answer = await fleet.exchange(token, device)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


@pytest.mark.parametrize("act", ["disable_device", "remove_device"])
async def test_what_a_gateway_got_ends_with_the_gateway(fleet: Fleet, act: str) -> None:
    token = await exchanged(fleet, await fleet.gateway_token())
    own = (await fleet.world.device_token("gw-1", fleet.sub_secret)).json()["access_token"]
    assert await introspected(fleet, token)
    getattr(fleet.world.register, act)("gw")
    assert not await introspected(fleet, token)
    assert await introspected(fleet, own)  # which is the device's own


async def test_what_was_exchanged_ends_with_the_token_that_was_shown_and_no_other(
    fleet: Fleet,
) -> None:
    first, second = await fleet.gateway_token(), await fleet.gateway_token()
    of_first, of_second = await exchanged(fleet, first), await exchanged(fleet, second)
    answer = await fleet.world.http.post(
        "/oauth2/revoke",
        data={"token": first, "client_id": "gw", "client_secret": fleet.secret},
    )
    assert answer.status_code == 200
    assert not await introspected(fleet, of_first)
    assert await introspected(fleet, of_second)


async def test_the_end_goes_through_a_chain_and_reaches_guards(fleet: Fleet) -> None:
    register = fleet.world.register
    register.add_device(DeviceWish("gw-1-2", rights=Rights(publish=["site/gw-1/#"])))
    register.allow_grant("gw-1", "token-exchange", act_for=["gw-1-2"])
    middle = await exchanged(fleet, await fleet.gateway_token())
    last = await exchanged(fleet, middle, "gw-1-2")
    secret = register.ensure_guard_client("guard")
    register.disable_device("gw")
    assert not await introspected(fleet, last)
    answer = await fleet.world.http.get("/oauth2/revocations", auth=("guard", secret))
    told = [(row["subject"], "token_id" in row) for row in answer.json()["revocations"]]
    assert ("gw-1", True) in told
    assert ("gw-1-2", True) in told


async def test_a_gateway_that_is_disabled_or_a_token_that_is_revoked_exchanges_nothing(
    fleet: Fleet,
) -> None:
    token = await fleet.gateway_token()
    fleet.world.register.disable_device("gw")
    fleet.world.register.enable_device("gw")
    fleet.world.clock.now += 2
    answer = await fleet.exchange(token)
    assert answer.json()["error"] == "invalid_request"
    assert fleet.world.events[-1].reason == "shown_token_not_good"


async def test_a_gateway_that_is_disabled_between_look_and_answer_gets_nothing(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await fleet.gateway_token()
    keyring = fleet.world.keyring
    sign = keyring.signing_key

    def late(now: float) -> Any:
        monkeypatch.undo()
        fleet.world.register.disable_device("gw")
        return sign(now)

    monkeypatch.setattr(keyring, "signing_key", late)
    answer = await fleet.exchange(token)
    assert answer.json()["error"] == "invalid_request"
    assert fleet.world.events[-1].reason == "shown_token_ended_meanwhile"


async def test_a_sub_device_that_is_disabled_loses_what_the_gateway_got(fleet: Fleet) -> None:
    token = await exchanged(fleet, await fleet.gateway_token())
    fleet.world.register.disable_device("gw-1")
    assert not await introspected(fleet, token)


async def test_a_gateway_has_so_many_living_tokens_and_no_more(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfob.server.stores.exchanged_tokens.MAX_EXCHANGED", 2)
    token = await fleet.gateway_token()
    for _ in range(2):
        await exchanged(fleet, token)
    answer = await fleet.exchange(token)
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")


async def test_a_gateway_has_an_applications_allowance_and_a_device_a_devices(
    settings: ServerSettings, register: Register, clock: Clock
) -> None:
    secrets = {name: register.add_device(name).secret for name in ("gw", "dev1")}
    register.allow_grant("gw", "token-exchange", act_for=["gw-*"])
    few = LimitSettings(client_burst=2, client_rate=0.001)
    app = create_app(replace(settings, limits=few), clock=clock, sleep=clock.sleep)
    statuses = {}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=settings.issuer) as http,
    ):
        for name, secret in secrets.items():
            form = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
            answers = [await http.post("/oauth2/token", data=form) for _ in range(5)]
            statuses[name] = {answer.status_code for answer in answers}
    assert statuses == {"gw": {200}, "dev1": {200, 429}}

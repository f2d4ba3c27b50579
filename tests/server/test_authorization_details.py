# SPDX-License-Identifier: Apache-2.0
"""authorization_details (RFC 9396): a part of a device's rights, as the guard enforces it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keyfob.authorization.syntaxes.authorization_details import parse_details
from keyfob.server.authorization_details import (
    MAX_TOPICS,
    details_text,
    read_details,
    requested_details,
)
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.wishes import ApplicationWish, DeviceWish, Rights
from tests.server.world import World, claims_of

pytestmark = pytest.mark.anyio

PUBLISH = {"type": "mqtt", "actions": ["publish"], "topics": ["devices/dev1/t"]}
AT_A = {**PUBLISH, "locations": ["mqtts://a.example"]}


async def ask(world: World, details: Any, **more: str) -> Any:
    secret = world.register.add_device(
        DeviceWish(
            "dev1",
            rights=Rights(
                publish=["devices/{device}/#"], subscribe=["cmd/{device}"], scopes=["fleet.read"]
            ),
        )
    ).secret
    text = details if isinstance(details, str) else json.dumps(details)
    return await world.device_token("dev1", secret, authorization_details=text, **more)


async def claims(world: World, answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    jwks = (await world.http.get("/oauth2/jwks")).json()
    return claims_of(answer.json()["access_token"], jwks)[1]


@pytest.mark.parametrize("detail", [PUBLISH, AT_A])
async def test_details_are_granted_told_and_written_into_the_token(
    world: World, detail: dict[str, Any]
) -> None:
    answer = await ask(world, [detail])
    assert answer.json()["authorization_details"] == [detail]
    assert (await claims(world, answer))["authorization_details"] == [detail]


async def test_details_alone_bring_no_scope_but_the_one_to_connect(world: World) -> None:
    answer = await ask(world, [PUBLISH])
    assert answer.json()["scope"] == "mqtt.connect"
    assert (await claims(world, answer))["scope"] == "mqtt.connect"


async def test_scopes_beside_details_are_those_that_were_asked_for(world: World) -> None:
    answer = await ask(world, [PUBLISH], scope="mqtt.connect mqtt.subscribe:cmd/dev1")
    assert answer.json()["scope"] == "mqtt.connect mqtt.subscribe:cmd/dev1"
    assert answer.json()["authorization_details"] == [PUBLISH]


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"topics": ["devices/dev2/t"]}, "details_exceeded"),
        ({"topics": ["devices/+/t"]}, "details_exceeded"),
        ({"topics": ["#"]}, "details_exceeded"),
        ({"topics": ["devices/dev1/t", "cmd/dev1"]}, "details_exceeded"),
        ({"actions": ["subscribe"]}, "details_exceeded"),
        ({"actions": ["publish", "subscribe"]}, "details_exceeded"),
        ({"actions": ["connect"]}, "details_malformed"),
        ({"actions": []}, "details_malformed"),
        ({"topics": []}, "details_malformed"),
        ({"topics": ["a#"]}, "details_malformed"),
        ({"topics": "devices/dev1/t"}, "details_malformed"),
        ({"topics": ["$share/g/devices/dev1/t"]}, "details_malformed"),
        ({"locations": []}, "details_malformed"),
        ({"locations": "a"}, "details_malformed"),
        ({"locations": [{}]}, "details_malformed"),
        ({"locations": None}, "details_malformed"),
        ({"privileges": ["x"]}, "details_malformed"),
        ({"type": "payment"}, "details_type_unknown"),
        ({"type": None}, "details_malformed"),
        ({"topics": ["devices/dev1/t"] * 2 + [f"devices/dev1/{n}" for n in range(MAX_TOPICS)]},
         "details_too_many"),
        ({"locations": [str(number) for number in range(65)]}, "details_too_many"),
    ],
)  # fmt: skip
async def test_more_than_is_registered_and_what_nobody_knows_is_refused(
    world: World, change: dict[str, Any], reason: str
) -> None:
    answer = await ask(world, [{**PUBLISH, **change}])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_authorization_details")
    assert world.events[-1].reason == reason


@pytest.mark.parametrize(
    "text",
    [
        "[]", "{}", "null", "x", "[1]", "[[]]", '[{"type":"mqtt"}]', "[" * 2000, "\ud800",
        '[{"type":"mqtt","type":"mqtt","actions":["publish"],"topics":["devices/dev1/t"]}]',
        json.dumps([PUBLISH] * 33), " " * 8001,
    ],
)  # fmt: skip
def test_what_is_no_bounded_array_of_objects_is_refused(text: str) -> None:
    with pytest.raises(OAuthError) as caught:
        requested_details(text)
    assert caught.value.error == "invalid_authorization_details"


def test_what_is_kept_reads_as_what_was_asked_for_and_as_the_guard_reads_it() -> None:
    details = requested_details(json.dumps([AT_A, PUBLISH]))
    assert read_details(details_text(details)) == details
    members = json.loads(details_text(details))
    assert members == [AT_A, PUBLISH]
    here = parse_details(members, ["mqtts://a.example"]).rules
    elsewhere = parse_details(members, ["mqtts://b.example"]).rules
    assert (len(here), len(elsewhere)) == (2, 1)


# Refresh tokens: a family keeps what was granted (RFC 9396 section 6)


class Login:
    def __init__(self, world: World) -> None:
        self.world = world
        self.application = world.register.add_application(ApplicationWish("app", refresh=True))
        self.secret = world.register.add_device(
            DeviceWish("dev1", rights=Rights(publish=["devices/{device}/#"]))
        ).secret
        self.refresh_token = ""

    async def ask(self, **form: str) -> Any:
        answer = await self.world.token(auth=("app", str(self.application.secret)), **form)
        self.refresh_token = answer.json().get("refresh_token", self.refresh_token)
        return answer

    async def login(self, **more: str) -> Any:
        return await self.ask(grant_type="password", username="dev1", password=self.secret, **more)

    async def refresh(self, **more: str) -> Any:
        return await self.ask(grant_type="refresh_token", refresh_token=self.refresh_token, **more)


WIDE = {**AT_A, "topics": ["devices/dev1/#"]}


async def test_a_refresh_brings_the_details_of_the_login(world: World) -> None:
    login = Login(world)
    await login.login(authorization_details=json.dumps([WIDE]))
    for _ in range(2):
        answer = await login.refresh()
        assert answer.json()["authorization_details"] == [WIDE]
        assert answer.json()["scope"] == "mqtt.connect"


async def test_a_refresh_narrows_details_for_one_token_and_never_widens_them(
    world: World,
) -> None:
    login = Login(world)
    await login.login(authorization_details=json.dumps([WIDE]))
    answer = await login.refresh(authorization_details=json.dumps([AT_A]))
    assert answer.json()["authorization_details"] == [AT_A]
    for wider in (PUBLISH, {**AT_A, "locations": ["mqtts://a.example", "mqtts://b.example"]}):
        answer = await login.refresh(authorization_details=json.dumps([wider]))
        assert answer.json()["error"] == "invalid_authorization_details"
    answer = await login.refresh(scope="mqtt.publish:devices/dev1/t")
    assert answer.json()["error"] == "invalid_scope"
    assert (await login.refresh()).json()["authorization_details"] == [WIDE]


async def test_who_names_scopes_alone_at_a_refresh_gets_no_details(world: World) -> None:
    login = Login(world)
    await login.login(authorization_details=json.dumps([WIDE]))
    assert "authorization_details" not in (await login.refresh(scope="mqtt.connect")).json()


async def test_a_login_without_details_may_be_narrowed_to_some(world: World) -> None:
    login = Login(world)
    await login.login()
    answer = await login.refresh(authorization_details=json.dumps([AT_A]))
    assert answer.json()["authorization_details"] == [AT_A]
    assert "mqtt.publish:devices/dev1/#" in (await login.refresh()).json()["scope"].split()


async def test_details_that_are_no_longer_registered_go_from_a_family(world: World) -> None:
    login = Login(world)
    await login.login(authorization_details=json.dumps([WIDE]))
    world.register.remove_device("dev1")
    world.register.add_device(DeviceWish("dev1", rights=Rights(publish=["elsewhere"])))
    assert (await login.refresh()).json()["error"] == "invalid_grant"

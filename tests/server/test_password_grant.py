# SPDX-License-Identifier: Apache-2.0
"""The password grant: devices behind an application (RFC 6749 section 4.3)."""

from __future__ import annotations

import httpx
import pytest

from keyfob.server.wishes import ApplicationWish, DeviceWish, Rights
from tests.server.world import World, claims_of

pytestmark = pytest.mark.anyio


async def ask(world: World, application: str, secret: str, **parameters: str) -> httpx.Response:
    auth = (application, secret) if secret else None
    more = {} if secret else {"client_id": application}
    return await world.token(auth=auth, grant_type="password", **more, **parameters)


@pytest.mark.parametrize("public", [False, True])
async def test_two_devices_behind_one_application_get_their_own_tokens(
    world: World, public: bool
) -> None:
    application = world.register.add_application(ApplicationWish("gateway", public=public))
    assert (application.secret is None) == public
    jwks = (await world.http.get("/oauth2/jwks")).json()
    for device_id, lifetime in (("dev1", 60), ("dev2", 120)):
        device = world.register.add_device(
            DeviceWish(device_id, rights=Rights(publish=["{device}/#"]), lifetime=lifetime)
        )
        answer = await ask(
            world,
            "gateway",
            application.secret or "",
            username=device_id,
            password=device.secret,
        )
        assert answer.status_code == 200
        assert answer.json()["expires_in"] == lifetime
        _, claims = claims_of(answer.json()["access_token"], jwks)
        assert (claims["sub"], claims["client_id"]) == (device_id, "gateway")
        assert claims["scope"] == f"mqtt.connect mqtt.publish:{device_id}/#"


async def test_it_is_off_for_whoever_is_not_registered_for_it(world: World) -> None:
    device = world.register.add_device("dev1")
    answer = await ask(world, "dev1", device.secret, username="dev1", password=device.secret)
    assert answer.json()["error"] == "unauthorized_client"
    answer = await ask(world, "gateway", "", username="dev1", password=device.secret)
    assert answer.json()["error"] == "invalid_client"


async def test_a_wrong_device_gets_one_answer_for_one_work(world: World) -> None:
    """Unknown, disabled, wrong secret and no device at all look the same to the client."""
    application = world.register.add_application("gateway")
    secret = application.secret or ""
    one = world.register.add_device("dev1")
    two = world.register.add_device("dev2")
    world.register.disable_device("dev2")
    answers = []
    for username, password in (
        ("nobody", one.secret),
        ("dev1", two.secret),
        ("dev2", two.secret),
        ("gateway", secret),
    ):
        world.verified.clear()
        answer = await ask(world, "gateway", secret, username=username, password=password)
        assert answer.status_code == 400
        assert answer.json()["error"] == "invalid_grant"
        assert "www-authenticate" not in answer.headers
        assert len(world.verified) == 4  # client and device: the secret of now, and the one before
        answers.append((answer.content, sorted(answer.headers.items())))
    assert all(answer == answers[0] for answer in answers)
    assert [event.reason for event in world.events] == [
        "device_unknown",
        "device_secret_wrong",
        "device_disabled",
        "device_unknown",
    ]
    assert [event.subject for event in world.events] == ["nobody", "dev1", "dev2", "gateway"]


@pytest.mark.parametrize("missing", ["username", "password"])
async def test_a_missing_parameter_is_an_invalid_request(world: World, missing: str) -> None:
    application = world.register.add_application("gateway")
    device = world.register.add_device("dev1")
    parameters = {"username": "dev1", "password": device.secret} | {missing: ""}
    answer = await ask(world, "gateway", application.secret or "", **parameters)
    assert answer.json()["error"] == "invalid_request"


async def test_the_application_is_authenticated_before_the_device(world: World) -> None:
    world.register.add_application("gateway")
    device = world.register.add_device("dev1")
    answer = await ask(world, "gateway", "kfs_wrong", username="dev1", password=device.secret)
    assert answer.json()["error"] == "invalid_client"


async def test_a_public_application_that_shows_a_secret_is_refused(world: World) -> None:
    world.register.add_application(ApplicationWish("gateway", public=True))
    device = world.register.add_device("dev1")
    answer = await ask(world, "gateway", "kfs_any", username="dev1", password=device.secret)
    assert answer.json()["error"] == "invalid_client"


async def test_the_scope_is_the_devices_and_only_narrowed(world: World) -> None:
    world.register.add_application(ApplicationWish("gateway", public=True))
    device = world.register.add_device(DeviceWish("dev1", rights=Rights(scopes=["billing"])))
    login = {"username": "dev1", "password": device.secret}
    answer = await ask(world, "gateway", "", **login, scope="billing")
    assert answer.json()["scope"] == "billing"
    answer = await ask(world, "gateway", "", **login, scope="admin")
    assert answer.json()["error"] == "invalid_scope"


async def test_it_ends_with_the_applications_registration(world: World) -> None:
    world.register.add_application(ApplicationWish("gateway", public=True))
    device = world.register.add_device("dev1")
    world.register.remove_application("gateway")
    answer = await ask(world, "gateway", "", username="dev1", password=device.secret)
    assert answer.json()["error"] == "invalid_client"

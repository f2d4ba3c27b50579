# SPDX-License-Identifier: Apache-2.0
"""Nobody uses the admin API but a service with a token for it and the scope of the operation."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from keyfob.errors import ConfigError
from keyfob.http.client_certificate import CLIENT_CERTIFICATE, ClientCertificate
from keyfob.server.admin.routes import OPERATIONS
from keyfob.server.admin_scopes import ADMIN_SCOPES, DEVICES_READ, DEVICES_WRITE, SERVICES_WRITE
from keyfob.server.app import create_app
from keyfob.server.limits import LimitSettings
from keyfob.server.settings import ServerSettings
from keyfob.server.wishes import DeviceWish, Rights
from tests.server.admin.asking import API, Admin
from tests.server.client_certificates import Shown, named, signed
from tests.server.world import ISSUER, World

pytestmark = pytest.mark.anyio


async def ask(world: World, token: str | None, path: str = "/devices") -> Any:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return await world.http.get(API + path, headers=headers)


async def test_the_token_of_a_service_is_for_the_admin_api_alone_and_short(admin: Admin) -> None:
    answer = (await admin.fetch()).json()
    assert answer["expires_in"] == 300
    assert answer["scope"].split() == list(ADMIN_SCOPES)
    narrowed = (await admin.fetch(scope=DEVICES_READ)).json()
    assert narrowed["scope"] == DEVICES_READ
    admin.token = narrowed["access_token"]
    assert (await admin("GET", "/devices")).status_code == 200
    assert (await admin("POST", "/devices", {"id": "dev1"})).status_code == 403


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("resource", ISSUER + API, "invalid_target"),
        ("resource", "https://a.example/", "invalid_target"),
        ("resource", "mqtt", "invalid_target"),
        ("authorization_details", "[]", "invalid_authorization_details"),
        (
            "authorization_details",
            '[{"type": "mqtt", "actions": ["publish"], "topics": ["a"]}]',
            "invalid_authorization_details",
        ),
    ],
)
async def test_a_service_makes_no_other_token_of_it(
    admin: Admin, name: str, value: str, error: str
) -> None:
    answer = await admin.fetch(**{name: value})
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_nobody_elses_audience_is_the_admin_apis(settings: ServerSettings) -> None:
    for more in ({"audience": ISSUER + API}, {"resources": {"https://a.example/": ISSUER + API}}):
        with pytest.raises(ConfigError, match="admin API"):
            replace(settings, **more)


async def test_a_service_without_admin_scopes_gets_no_token(world: World) -> None:
    _, secret = world.register.add_service("guard", scopes=["keyfob.revocations"])
    answer = await world.token(auth=("guard", secret), grant_type="client_credentials")
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")


async def test_a_token_says_no_scope_that_is_not_of_the_admin_api(world: World) -> None:
    both = await Admin.of(world, "both", ["keyfob.introspection", DEVICES_READ])
    assert (await both.fetch()).json()["scope"] == DEVICES_READ
    assert (await both.fetch(scope="keyfob.introspection")).json()["error"] == "invalid_scope"


@pytest.mark.sqlite
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
async def test_every_operation_needs_a_token_with_its_own_scope(
    world: World, operation: Any
) -> None:
    path = API + operation.path.replace("{id}", "dev1")
    without = await world.http.request(operation.method, path)
    assert (without.status_code, without.json()["code"]) == (401, "invalid_token")
    assert without.headers["www-authenticate"] == 'Bearer realm="keyfob"'
    others = [scope for scope in ADMIN_SCOPES if scope != operation.scope]
    all_others = await Admin.of(world, "others", others)
    refused = await all_others(operation.method, operation.path.replace("{id}", "dev1"), {})
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert f'scope="{operation.scope}"' in refused.headers["www-authenticate"]
    assert [one.action for one in world.register.list_actions()] == ["service.add"]


def claims(world: World, **more: Any) -> dict[str, Any]:
    now = int(world.clock.now)
    return {
        "iss": ISSUER,
        "sub": "ops",
        "client_id": "ops",
        "aud": ISSUER + API,
        "iat": now,
        "exp": now + 300,
        "jti": secrets.token_urlsafe(16),
        "scope": DEVICES_READ,
    } | more


ATTACKS: dict[str, Callable[[World], dict[str, Any]]] = {
    "another audience": lambda world: claims(world, aud="mqtt"),
    "the issuer as audience": lambda world: claims(world, aud=ISSUER),
    "another issuer": lambda world: claims(world, iss="https://other.example"),
    "over": lambda world: claims(world, exp=int(world.clock.now) - 1),
    "from the future": lambda world: claims(world, nbf=int(world.clock.now) + 3600),
    "of a device": lambda world: claims(world, sub="dev1", client_id="dev1"),
    "of an application": lambda world: claims(world, sub="app", client_id="app"),
    "of nobody": lambda world: claims(world, sub="nobody", client_id="nobody"),
    "for a device, got by the service": lambda world: claims(world, sub="dev1"),
    "for the service, got by a device": lambda world: claims(world, client_id="dev1"),
    "exchanged": lambda world: claims(world, act={"sub": "dev1"}),
    "bound to a key": lambda world: claims(world, cnf={"jkt": "x" * 43}),
    "bound to a certificate": lambda world: claims(world, cnf={"x5t#S256": "x" * 43}),
    "to a service of this name before": lambda world: claims(world, iat=int(world.clock.now) - 10),
}


@pytest.mark.sqlite
@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_token_that_was_not_issued_to_this_service_for_this_api_is_refused(
    world: World, admin: Admin, attack: str
) -> None:
    world.register.add_device(DeviceWish("dev1", rights=Rights(scopes=["x"])))
    world.register.add_application("app")
    key = world.keyring.signing_key(world.clock.now)
    good = key.sign(claims(world), typ="at+jwt")
    assert (await ask(world, good)).status_code == 200  # the forgery is one thing only
    answer = await ask(world, key.sign(ATTACKS[attack](world), typ="at+jwt"))
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")
    assert world.events[-1].request == "admin"
    assert world.events[-1].outcome == "refused"


async def test_a_token_that_is_bound_to_a_certificate_is_taken_with_it_alone(
    world: World, admin: Admin
) -> None:
    mine, other = signed(named("ops")), signed(named("ops"))
    key = world.keyring.signing_key(world.clock.now)
    bound = key.sign(claims(world, cnf={"x5t#S256": mine.thumbprint}), typ="at+jwt")
    and_more = {"x5t#S256": mine.thumbprint, "jkt": "x" * 43}
    by_key, too = (
        key.sign(claims(world, cnf=cnf), typ="at+jwt")
        for cnf in ({"jkt": mine.thumbprint}, and_more)
    )
    app = create_app(world.settings, clock=world.clock)

    async def status(shown: Shown, token: str) -> int:
        async def showing(scope: Any, receive: Any, send: Any) -> None:
            certificate = ClientCertificate(der=shown.der, verified=False)
            await app({**scope, CLIENT_CERTIFICATE: certificate}, receive, send)

        transport = httpx.ASGITransport(showing)
        async with httpx.AsyncClient(transport=transport, base_url=ISSUER) as http:
            headers = {"Authorization": f"Bearer {token}"}
            return (await http.get(API + "/devices", headers=headers)).status_code

    async with app.router.lifespan_context(app):
        assert await status(mine, bound) == 200
        assert await status(other, bound) == 401
        assert await status(mine, by_key) == 401
        assert await status(mine, too) == 401
        assert await status(other, admin.token) == 200


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Basic b3BzOng=",
        "Bearer x",
        "DPoP x",
        "Bearer a.b.c",
        "Bearer " + "x" * 20_000,
    ],
)
async def test_what_is_no_bearer_token_is_refused(world: World, header: str) -> None:
    answer = await world.http.get(API + "/devices", headers={"Authorization": header})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert "x" * 99 not in answer.text


async def test_two_authorization_headers_are_refused(world: World, admin: Admin) -> None:
    header = ("Authorization", f"Bearer {admin.token}")
    answer = await world.http.get(API + "/devices", headers=[header, header])
    assert answer.status_code == 401


async def test_a_device_token_is_no_admin_token(world: World) -> None:
    secret = world.register.add_device("dev1").secret
    token = (await world.device_token("dev1", secret)).json()["access_token"]
    assert (await ask(world, token)).status_code == 401


async def test_an_admin_token_is_no_good_for_introspection(world: World, admin: Admin) -> None:
    """A broker that asks about it, and looks at nothing but `active`, must not let it in."""
    _, secret = world.register.add_service("asker", scopes=["keyfob.introspection"])
    answer = await world.http.post(
        "/oauth2/introspect", data={"token": admin.token}, auth=("asker", secret)
    )
    assert answer.json() == {"active": False}


async def test_a_service_ends_its_own_token_by_revocation(world: World, admin: Admin) -> None:
    assert (await admin("GET", "/devices")).status_code == 200
    answer = await world.http.post(
        "/oauth2/revoke", data={"token": admin.token}, auth=("ops", admin.secret)
    )
    assert answer.status_code == 200
    assert (await admin("GET", "/devices")).status_code == 401


async def test_a_removed_service_has_nothing_from_that_moment_on(
    world: World, admin: Admin
) -> None:
    world.register.remove_service("ops")
    assert (await admin("GET", "/devices")).status_code == 401
    world.clock.now += 1
    world.register.add_service("ops", scopes=[DEVICES_READ])  # another one of that name
    assert (await admin("GET", "/devices")).status_code == 401


async def test_a_service_that_is_made_anew_within_a_second_has_nothing_of_the_one_before(
    world: World, admin: Admin
) -> None:
    world.register.remove_service("ops")
    again = await Admin.of(world, "ops", ADMIN_SCOPES)
    assert (await admin("GET", "/devices")).status_code == 401
    assert (await again("GET", "/devices")).status_code == 200


async def test_nobody_makes_a_service_with_more_than_he_has(world: World) -> None:
    maker = await Admin.of(world, "maker", [SERVICES_WRITE, DEVICES_READ])
    more = {"id": "more", "scopes": [DEVICES_READ, DEVICES_WRITE]}
    answer = await maker("POST", "/services", more)
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_exceeded")
    assert [one.id for one in world.register.list_services()] == ["maker"]
    same = {"id": "same", "scopes": [DEVICES_READ, SERVICES_WRITE, "keyfob.revocations"]}
    assert (await maker("POST", "/services", same)).status_code == 201


async def test_a_narrowed_token_still_makes_no_service_with_more_than_it_says(
    world: World, admin: Admin
) -> None:
    admin.token = (await admin.fetch(scope=SERVICES_WRITE)).json()["access_token"]
    answer = await admin("POST", "/services", {"id": "more", "scopes": [DEVICES_WRITE]})
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_exceeded")


async def test_a_service_does_not_remove_itself(admin: Admin) -> None:
    assert (await admin("DELETE", "/services/ops")).status_code == 409
    assert (await admin("GET", "/services/ops")).status_code == 200


async def test_wrong_tokens_use_up_what_a_network_may_be_wrong(world: World) -> None:
    settings = replace(world.settings, limits=LimitSettings(address_failure_burst=3))
    app = create_app(settings, clock=world.clock)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http,
    ):
        statuses = [
            (await http.get(API + "/devices", headers={"Authorization": "Bearer x"})).status_code
            for _ in range(5)
        ]
        assert statuses == [401, 401, 401, 429, 429]
        last = await http.get(API + "/devices")
        assert int(last.headers["retry-after"]) >= 1
        assert last.json()["code"] == "temporarily_unavailable"


async def test_without_admin_api_there_is_none(world: World) -> None:
    app = create_app(replace(world.settings, admin_api=False), clock=world.clock)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http,
    ):
        assert (await http.get(API + "/openapi.json")).status_code == 404
        assert (await http.get(API + "/devices")).status_code == 404


async def test_where_tokens_are_opaque_those_for_the_admin_api_are_not(world: World) -> None:
    _, secret = world.register.add_service("ops", scopes=[DEVICES_READ])
    _, asker = world.register.add_service("asker", scopes=["keyfob.introspection"])
    settings = replace(world.settings, access_token_format="opaque")
    app = create_app(settings, clock=world.clock, sleep=world.clock.sleep)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http,
    ):
        form = {"grant_type": "client_credentials"}
        answer = await http.post("/oauth2/token", data=form, auth=("ops", secret))
        token = answer.json()["access_token"]
        assert token.startswith("eyJ")
        headers = {"Authorization": f"Bearer {token}"}
        assert (await http.get(API + "/devices", headers=headers)).status_code == 200
        asked = await http.post("/oauth2/introspect", data={"token": token}, auth=("asker", asker))
        assert asked.json() == {"active": False}


async def test_a_devices_token_forms_are_changed(world: World) -> None:
    admin = await Admin.of(world, "ops")
    secret = world.register.add_device("d1").secret
    form = {"access_token_format": "opaque"}
    assert (await admin("PUT", "/devices/d1/tokens", form)).status_code == 200
    assert (await world.device_token("d1", secret)).json()["access_token"].startswith("kfa_")
    unbindable = {"access_token_confirmation": "jwk"}
    assert (await admin("PUT", "/devices/d1/tokens", unbindable)).status_code == 422

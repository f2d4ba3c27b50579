# SPDX-License-Identifier: Apache-2.0
"""Clients register and manage their registration, and nobody else's (RFC 7591, RFC 7592)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from keyfob.errors import ConfigError
from keyfob.server.app import create_app
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_metadata import ClientMetadata, given_metadata
from keyfob.server.limits import LimitSettings
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.registration.initial_tokens import Kind, RegistrationTokens, Template
from keyfob.server.registration.registrar import Registrar
from keyfob.server.stores.fleet import Selection
from keyfob.server.stores.store import open_store
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import jwks_of
from tests.server.world import ISSUER, World

pytestmark = pytest.mark.anyio
KEYS = json.loads(jwks_of(SigningKey.generate()))
LINE = Template(prefix="t-", publish=("devices/{device}/#",), lifetime=600)


@dataclass
class Registering:
    """The endpoint, and the operator who hands out tokens."""

    world: World
    tokens: RegistrationTokens

    def token(self, template: Template = LINE, *, uses: int = 9, seconds: int = 60) -> str:
        name = f"line{len(self.tokens.list())}"
        return self.tokens.add(name, uses=uses, seconds=seconds, template=template).token

    async def post(self, token: str | None, document: Any = None) -> httpx.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return await self.world.http.post(
            "/oauth2/register", json={} if document is None else document, headers=headers
        )

    async def registered(self, template: Template = LINE, **document: Any) -> dict[str, Any]:
        answer = await self.post(self.token(template), document)
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def manage(self, method: str, client: Any, document: Any = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {client['registration_access_token']}"}
        options = {} if document is None else {"json": document}
        return await self.world.http.request(
            method, client["registration_client_uri"], headers=headers, **options
        )


@pytest.fixture
def registering(world: World) -> Iterator[Registering]:
    store = open_store(world.settings.database)
    yield Registering(world, RegistrationTokens(store, clock=world.clock, actor="alice"))
    store.close()


async def test_a_device_registers_and_gets_tokens(registering: Registering) -> None:
    answer = await registering.post(registering.token(), {"device_id": "t-1", "client_name": "Tür"})
    assert answer.headers["cache-control"] == "no-store"
    client = answer.json()
    assert (client["client_id"], client["client_secret_expires_at"]) == ("t-1", 0)
    assert client["client_name"] == "Tür"
    assert client["scope"] == "mqtt.connect mqtt.publish:devices/t-1/#"
    assert client["registration_client_uri"] == ISSUER + "/oauth2/register/t-1"
    assert (client["grant_types"], client["response_types"]) == (["client_credentials"], [])
    token = (await registering.world.device_token("t-1", client["client_secret"])).json()
    assert token["expires_in"] == 600
    (line,) = registering.world.register.list_actions(subject="t-1")
    assert (line.actor, line.action, line.result) == ("registration:line0", "device.add", "done")


async def test_without_a_name_a_device_gets_one_of_its_line(registering: Registering) -> None:
    first, second = await registering.registered(), await registering.registered()
    assert first["client_id"].startswith("t-")
    assert first["client_id"] != second["client_id"]


async def test_a_device_with_keys_has_no_secret_and_sees_its_keys(registering: Registering) -> None:
    client = await registering.registered(token_endpoint_auth_method="private_key_jwt", jwks=KEYS)
    assert "client_secret" not in client
    assert client["jwks"]["keys"][0]["x"] == KEYS["keys"][0]["x"]


async def test_an_application_registers_with_and_without_a_secret(registering: Registering) -> None:
    template = Template(kind="application")
    public = await registering.registered(template, token_endpoint_auth_method="none")
    assert "client_secret" not in public
    confidential = await registering.registered(template, grant_types=["password"])
    assert confidential["grant_types"] == ["password"]
    assert "scope" not in confidential
    device = registering.world.register.add_device("dev1")
    answer = await registering.world.token(
        auth=(confidential["client_id"], confidential["client_secret"]),
        grant_type="password",
        username="dev1",
        password=device.secret,
    )
    assert answer.status_code == 200
    assert "refresh_token" not in answer.json()  # it registered for no more


async def test_nobody_registers_without_a_good_token(registering: Registering) -> None:
    used_up, over = registering.token(uses=1), registering.token(seconds=1)
    assert (await registering.post(used_up)).status_code == 201
    removed = registering.token()
    registering.tokens.remove("line2")
    registering.world.clock.now += 1
    wrong = [None, "kfi_wrong", used_up, over, removed, "a" * 20_000]
    bodies = set()
    for token in wrong:
        answer = await registering.post(token, {"device_id": "t-9"})
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
        assert answer.headers["www-authenticate"].startswith('Bearer realm="keyfob"')
        bodies.add(answer.text)
    assert len(bodies) == 1
    assert registering.world.events[-1].request == "registration"
    assert len(registering.world.register.list_devices()) == 1


async def test_a_use_is_spent_by_a_registration_and_by_nothing_else(
    registering: Registering,
) -> None:
    token = registering.token(uses=2)
    registering.world.register.add_device("t-taken")
    for document in ({"device_id": "t-taken"}, {"device_id": "x"}, {"scope": "more"}):
        answer = await registering.post(token, document)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
    assert registering.tokens.list()[0].uses_left == 2
    for status in (201, 201, 401):
        assert (await registering.post(token)).status_code == status
    assert registering.tokens.list()[0].uses_left == 0


async def test_two_servers_and_many_clients_at_once_spend_no_use_twice(
    registering: Registering,
) -> None:
    token, world = registering.token(uses=7), registering.world
    other = create_app(world.settings, clock=world.clock)
    async with (
        other.router.lifespan_context(other),
        httpx.AsyncClient(transport=httpx.ASGITransport(other), base_url=ISSUER) as http,
    ):
        headers = {"Authorization": f"Bearer {token}"}
        answers = await asyncio.gather(
            *(
                client.post("/oauth2/register", json={}, headers=headers)
                for client in (world.http, http)
                for _ in range(15)
            )
        )
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(201), statuses.count(401)) == (7, 23)
    assert len(world.register.list_devices()) == 7
    assert registering.tokens.list()[0].uses_left == 0


async def test_one_name_that_many_want_at_once_is_given_once(registering: Registering) -> None:
    token = registering.token(uses=20)
    answers = await asyncio.gather(
        *(registering.post(token, {"device_id": "t-1"}) for _ in range(20))
    )
    assert [answer.status_code for answer in answers].count(201) == 1
    assert registering.tokens.list()[0].uses_left == 19


async def test_a_name_that_another_has_is_not_taken_over(registering: Registering) -> None:
    world = registering.world
    secret = world.register.add_device("t-mine").secret
    world.register.add_application("t-app")
    for name in ("t-mine", "t-app"):
        answer = await registering.post(registering.token(), {"device_id": name})
        assert answer.json()["error"] == "invalid_client_metadata"
    assert (await world.device_token("t-mine", secret)).status_code == 200


async def test_a_registration_is_read_replaced_and_removed(registering: Registering) -> None:
    world, client = registering.world, await registering.registered(device_id="t-1")
    shown = await registering.manage("GET", client)
    assert shown.status_code == 200
    secret = client["client_secret"]
    assert shown.json() == {
        name: value
        for name, value in client.items()
        if name not in ("client_secret", "client_secret_expires_at")
    }
    wish = {"client_id": "t-1", "client_name": "new", "client_secret": secret}
    changed = (await registering.manage("PUT", client, wish)).json()
    assert changed["client_name"] == "new"
    assert changed["registration_access_token"] != client["registration_access_token"]
    assert (await world.device_token("t-1", secret)).status_code == 200
    token = (await world.device_token("t-1", secret)).json()["access_token"]
    _, asker = world.register.add_service("asker", scopes=["keyfob.introspection"])
    gone = await registering.manage("DELETE", changed)
    assert (gone.status_code, gone.content) == (204, b"")
    answer = await world.http.post(
        "/oauth2/introspect", data={"token": token}, auth=("asker", asker)
    )
    assert answer.json() == {"active": False}
    assert (await registering.manage("GET", changed)).status_code == 401
    lines = world.register.list_actions(subject="t-1")
    assert [(one.actor, one.action) for one in lines] == [
        ("registration:line0", "device.add"),
        ("client:t-1", "device.update-registration"),
        ("client:t-1", "device.remove"),
    ]


async def test_a_token_that_was_replaced_is_good_until_the_new_one_arrived(
    registering: Registering,
) -> None:
    first = await registering.registered(device_id="t-1")
    await registering.manage("PUT", first, {"client_id": "t-1"})  # whose answer is lost
    second = (await registering.manage("PUT", first, {"client_id": "t-1"})).json()
    assert (await registering.manage("GET", first)).status_code == 200
    assert (await registering.manage("GET", second)).status_code == 200
    assert (await registering.manage("GET", first)).status_code == 401
    third = (await registering.manage("PUT", second, {"client_id": "t-1"})).json()
    assert (await registering.manage("GET", first)).status_code == 401
    assert (await registering.manage("GET", third)).status_code == 200


async def test_an_update_narrows_the_scope_and_never_widens_it(registering: Registering) -> None:
    client = await registering.registered(device_id="t-1")
    narrow = {"client_id": "t-1", "scope": "mqtt.publish:devices/t-1/a"}
    client = (await registering.manage("PUT", client, narrow)).json()
    assert client["scope"] == "mqtt.connect mqtt.publish:devices/t-1/a"
    wide = {"client_id": "t-1", "scope": "mqtt.publish:devices/t-1/#"}
    answer = await registering.manage("PUT", client, wide)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


async def test_an_update_to_more_scopes_than_a_token_holds_is_refused_in_words(
    registering: Registering,
) -> None:
    client = await registering.registered(device_id="t-1")
    many = " ".join(f"mqtt.publish:devices/t-1/{number}" for number in range(128))
    answer = await registering.manage("PUT", client, {"client_id": "t-1", "scope": many})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
    assert (await registering.manage("GET", client)).json()["scope"] == client["scope"]


async def test_a_client_with_keys_changes_them(registering: Registering) -> None:
    client = await registering.registered(
        device_id="t-1", token_endpoint_auth_method="private_key_jwt", jwks=KEYS
    )
    other = json.loads(jwks_of(SigningKey.generate()))
    update = {"client_id": "t-1", "jwks": other}
    changed = (await registering.manage("PUT", client, update)).json()
    assert changed["jwks"]["keys"][0]["x"] == other["keys"][0]["x"]
    without = await registering.manage("PUT", changed, {"client_id": "t-1"})
    assert without.json()["error"] == "invalid_client_metadata"


TOKEN, PLACE = "registration_access_token", "registration_client_uri"
# Made of what two clients were told, the attacker's first.
ATTACKS: dict[str, Callable[[Any, Any], Any]] = {
    "another client's": lambda mine, yours: {**yours, TOKEN: mine[TOKEN]},
    "none that there is": lambda _, yours: {**yours, TOKEN: "kfm_x"},
    "the client's secret": lambda _, yours: {**yours, TOKEN: yours["client_secret"]},
    "the empty one": lambda _, yours: {**yours, TOKEN: ""},
    "of nobody": lambda mine, _: {**mine, PLACE: ISSUER + "/oauth2/register/nobody"},
    "of what is no name": lambda mine, _: {**mine, PLACE: ISSUER + "/oauth2/register/%0A"},
}


@pytest.mark.sqlite
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.sqlite
@pytest.mark.parametrize("attack", ATTACKS)
async def test_unknown_and_wrong_get_one_answer_and_change_nothing(
    registering: Registering, attack: str, method: str
) -> None:
    mine = await registering.registered(device_id="t-mine")
    yours = await registering.registered(device_id="t-yours")
    shown = ATTACKS[attack](mine, yours)
    document = {"client_id": "t-yours"} if method == "PUT" else None
    answer = await registering.manage(method, shown, document)
    assert (answer.status_code, answer.text) == (
        401,
        '{"error":"invalid_token","error_description":"the token is not good here"}',
    )
    assert (await registering.manage("GET", yours)).status_code == 200


async def test_an_operators_device_has_no_registration_to_manage(registering: Registering) -> None:
    """Its row has no hash; an empty one must fit nothing."""
    secret = registering.world.register.add_device("dev1").secret
    for token in ("", "kfm_", secret):
        client = {
            "registration_access_token": token,
            "registration_client_uri": ISSUER + "/oauth2/register/dev1",
        }
        assert (await registering.manage("DELETE", client)).status_code == 401


async def test_a_token_does_not_fit_a_later_device_of_the_name(registering: Registering) -> None:
    client = await registering.registered(device_id="t-1")
    registering.world.register.remove_device("t-1")
    registering.world.register.add_device("t-1")
    assert (await registering.manage("GET", client)).status_code == 401


async def test_a_disabled_device_does_not_free_itself(registering: Registering) -> None:
    """It could remove itself, and register anew under its name."""
    client = await registering.registered(device_id="t-1")
    registering.world.register.disable_device("t-1")
    for method in ("GET", "PUT", "DELETE"):
        document = {"client_id": "t-1"} if method == "PUT" else None
        assert (await registering.manage(method, client, document)).status_code == 401
    assert registering.world.register.show_device("t-1").state == "disabled"


async def test_another_secret_in_an_update_is_refused(registering: Registering) -> None:
    client = await registering.registered(device_id="t-1")
    update = {"client_id": "t-1", "client_secret": "kfs_other"}
    answer = await registering.manage("PUT", client, update)
    assert answer.json()["error"] == "invalid_client_metadata"


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"a": 1, "a": 2}', "application/json", 400),
        (b"{}", "text/plain", 415),
        (b" " * 70_000, "application/json", 413),
    ],
)
async def test_what_is_no_json_object_is_refused(
    registering: Registering, body: bytes, media_type: str, status: int
) -> None:
    headers = {"Authorization": f"Bearer {registering.token()}", "Content-Type": media_type}
    answer = await registering.world.http.post("/oauth2/register", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_client_metadata")


async def test_no_token_or_secret_is_in_the_audit_or_the_trail(registering: Registering) -> None:
    token = registering.token()
    client = (await registering.post(token, {"device_id": "t-1"})).json()
    await registering.post(token, {"device_id": client["client_secret"]})
    await registering.manage("GET", client | {"registration_access_token": "kfm_wrong"})
    world = registering.world
    shown = (
        repr(world.events) + repr(world.register.list_actions()) + repr(registering.tokens.list())
    )
    for secret in (token, client["client_secret"], client["registration_access_token"]):
        assert secret not in shown
        assert secret[4:] not in shown


async def test_guesses_use_up_what_a_network_may_be_wrong(world: World) -> None:
    settings = replace(world.settings, limits=LimitSettings(address_failure_burst=3))
    app = create_app(settings, clock=world.clock)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http,
    ):
        headers = {"Authorization": "Bearer kfi_guess"}
        for path, method in (("", "POST"), ("/nobody", "GET")):
            statuses = [
                (
                    await http.request(method, "/oauth2/register" + path, headers=headers, json={})
                ).status_code
                for _ in range(5)
            ]
            assert statuses[-1] == 429


async def test_a_network_that_has_to_wait_writes_nothing_into_the_trail(
    registering: Registering,
) -> None:
    world, token = registering.world, registering.token()
    world.register.add_device("t-taken")
    settings = replace(world.settings, limits=LimitSettings(address_failure_burst=3))
    app = create_app(settings, clock=world.clock)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http,
    ):
        headers, wish = {"Authorization": f"Bearer {token}"}, {"device_id": "t-taken"}
        statuses = [
            (await http.post("/oauth2/register", json=wish, headers=headers)).status_code
            for _ in range(20)
        ]
    assert statuses == [400] * 3 + [429] * 17
    lines = world.register.list_actions(subject="t-taken")
    assert len(lines) == 1 + 3


async def test_what_manages_a_registration_is_shown_to_no_operator(
    registering: Registering,
) -> None:
    client = await registering.registered(device_id="t-1")
    await registering.manage("PUT", client, {"client_id": "t-1"})
    register = registering.world.register
    shown = repr([register.show_device("t-1"), register.list_devices()])
    assert "v1$sha256$" not in shown
    stored = register._store.client("t-1")
    assert stored is not None
    assert stored.metadata.registration_access_hash.startswith("v1$sha256$")


async def test_a_change_of_token_forms_leaves_the_registration(registering: Registering) -> None:
    client = await registering.registered(device_id="t-1", client_name="x")
    registering.world.register.set_device_tokens(
        "t-1", ClientMetadata(access_token_format="opaque")
    )
    assert (await registering.manage("GET", client)).json()["client_name"] == "x"


async def test_devices_of_a_line_are_in_its_groups_and_may_wait_for_an_operator(
    registering: Registering,
) -> None:
    world = registering.world
    world.register.fleet.add_group("meters", publish=["meters/{device}"])
    template = Template(groups=("meters",), pending=True)
    client = await registering.registered(template, device_id="m1")
    assert (await world.device_token("m1", client["client_secret"])).status_code == 401
    assert (await registering.manage("GET", client)).status_code == 401
    world.register.enable_device("m1")
    token = (await world.device_token("m1", client["client_secret"])).json()
    assert token["scope"] == "mqtt.connect mqtt.publish:meters/m1"
    missing = Template(groups=("nowhere",))
    answer = await registering.post(registering.token(missing), {"device_id": "m2"})
    assert answer.json()["error"] == "invalid_client_metadata"


async def test_a_client_that_wants_bound_tokens_gets_no_others_and_stays_so(
    registering: Registering,
) -> None:
    client = await registering.registered(device_id="t-1", dpop_bound_access_tokens=True)
    assert client["dpop_bound_access_tokens"] is True
    answer = await registering.world.device_token("t-1", client["client_secret"])
    assert answer.json()["error"] == "invalid_dpop_proof"
    changed = await registering.manage("PUT", client, {"client_id": "t-1"})
    assert changed.json()["dpop_bound_access_tokens"] is True


async def test_who_gives_exchange_up_acts_for_nobody(registering: Registering) -> None:
    client = await registering.registered(device_id="t-1")
    register = registering.world.register
    register.allow_grant("t-1", "token-exchange", act_for=["t-1-*"])
    kept = (await registering.manage("PUT", client, {"client_id": "t-1"})).json()
    assert register.show_grants("t-1").may_act_for == ("t-1-*",)
    fewer = {"client_id": "t-1", "grant_types": ["client_credentials"]}
    assert (await registering.manage("PUT", kept, fewer)).status_code == 200
    grants = register.show_grants("t-1")
    assert (grants.grant_types, grants.may_act_for) == (("client_credentials",), ())


async def test_a_client_with_a_certificate_of_an_operator_keeps_it(
    registering: Registering,
) -> None:
    client = await registering.registered(device_id="t-1")
    register = registering.world.register
    identity = CertificateIdentity(san_dns="t-1.example")
    register.set_device_certificate("t-1", identity, bound=True, remove_secret=True)
    same = {"client_id": "t-1"}
    stronger = await registering.manage("PUT", client, same | {"jwks": KEYS})
    assert stronger.json()["error"] == "invalid_client_metadata"
    updated = await registering.manage("PUT", client, same | {"client_name": "x"})
    assert updated.json()["token_endpoint_auth_method"] == "tls_client_auth"
    device = register.show_device("t-1")
    assert (device.certificate, device.certificate_bound) == (identity, True)
    wish: dict[str, Any] = {"token_endpoint_auth_method": "client_secret_basic"}
    assert (await registering.manage("PUT", updated.json(), same | wish)).status_code == 400
    wish = {"dpop_bound_access_tokens": True}  # a token is bound in one way
    assert (await registering.manage("PUT", updated.json(), same | wish)).status_code == 400


async def test_by_what_a_registration_is_managed_is_neither_exported_nor_imported(
    registering: Registering,
) -> None:
    await registering.registered(device_id="t-1", client_name="Tor")
    fleet = registering.world.register.fleet
    text = "".join(fleet.written(Selection(), "jsonl"))
    assert "Tor" in text
    assert "registration_access" not in text
    for name in ("registration_access_hash", "registration_access_previous"):
        with pytest.raises(ConfigError):
            given_metadata(json.dumps({name: "x"}).encode())


@pytest.mark.parametrize("kind", ["device", "application"])
async def test_a_token_that_is_replaced_meanwhile_removes_nothing(
    registering: Registering, kind: Kind
) -> None:
    """What proves the removal still holds in the transaction that removes."""
    client = await registering.registered(Template(kind=kind))
    name, token = client["client_id"], client["registration_access_token"]
    here, there = (open_store(registering.world.settings.database) for _ in range(2))
    updating = Registrar(there, client_id_template="{device}", clock=registering.world.clock)
    told: list[str] = []

    def clock() -> float:
        if not told:  # it was proven, and the transaction is not begun
            second = updating.update(name, token, {"client_id": name}).access_token
            told.append(updating.update(name, second, {"client_id": name}).access_token)
        return registering.world.clock()

    removing = Registrar(here, client_id_template="{device}", clock=clock)
    with pytest.raises(OAuthError):
        removing.remove(name, token)
    assert here.client(name) is not None
    removing.remove(name, told[0])
    assert here.client(name) is None
    here.close()
    there.close()

# SPDX-License-Identifier: Apache-2.0
"""The device code grant at the token endpoint (RFC 8628): what a client gets, and when."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from keyfob.server.stores import device_codes as bounds
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import open_store
from keyfob.server.user_codes import read_user_code
from keyfob.server.wishes import ApplicationWish, DeviceWish, Rights
from keyfob.tokens.sign import SigningKey
from tests.server.approving import (
    DEVICE_CODE,
    Gateway,
    add_operator,
    approver,
    gateway,
    operators_of,
)
from tests.server.databases import rows, written
from tests.server.proofs import claims_for, post, signed
from tests.server.world import World, claims_of

pytestmark = pytest.mark.anyio


async def approved(world: World, client: Gateway, **more: str) -> dict[str, Any]:
    """Begin a request and have it approved."""
    begun = await client.begun(login_hint="dev1", **more)
    async with approver(world) as browser:
        await browser.sign_in()
        page = await browser.decide(begun["user_code"])
        assert "Approved" in page.text
    return begun


@pytest.fixture
def client(world: World) -> Gateway:
    add_operator(world)
    world.register.add_device(
        DeviceWish("dev1", rights=Rights(publish=["{device}/#"], subscribe=["{device}/in"]))
    )
    return gateway(world)


async def test_a_client_is_told_what_to_show(client: Gateway) -> None:
    answer = await client.begin(login_hint="dev1", scope="mqtt.connect")
    begun = answer.json()
    assert begun["device_code"].startswith("kfd_")
    assert read_user_code(begun["user_code"]) is not None
    assert begun["user_code"][4] == "-"
    assert begun["verification_uri"] == "https://as.example:8443/device"
    assert begun["verification_uri_complete"].endswith(f"/device?user_code={begun['user_code']}")
    assert (begun["expires_in"], begun["interval"]) == (600, 5)
    assert answer.headers["cache-control"] == "no-store"


async def test_the_whole_flow_gives_the_devices_token_once(world: World, client: Gateway) -> None:
    begun = await client.begun(login_hint="dev1")
    assert await client.error(begun["device_code"]) == "authorization_pending"
    async with approver(world) as browser:
        await browser.sign_in()
        assert "Approved" in (await browser.decide(begun["user_code"])).text
    answer = await client.poll(begun["device_code"])
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    jwks = (await world.http.get("/oauth2/jwks")).json()
    _, claims = claims_of(answer.json()["access_token"], jwks)
    assert (claims["sub"], claims["client_id"]) == ("dev1", "setup")
    assert claims["scope"] == "mqtt.connect mqtt.publish:dev1/# mqtt.subscribe:dev1/in"
    assert "alice" not in str(claims)
    assert "refresh_token" not in answer.json()
    assert await client.error(begun["device_code"]) == "invalid_grant"


async def test_who_is_too_fast_has_to_slow_down_for_good(world: World, client: Gateway) -> None:
    code = (await client.begun())["device_code"]
    assert await client.error(code) == "authorization_pending"
    world.clock.now += 1
    assert await client.error(code) == "slow_down"  # 10 from now on
    world.clock.now += 6
    assert await client.error(code) == "slow_down"  # 15
    world.clock.now += 15
    assert await client.error(code) == "authorization_pending"
    world.clock.now += 10
    assert await client.error(code) == "slow_down"


async def test_polls_in_time_write_nothing_and_those_too_fast_a_few_times(
    world: World, client: Gateway
) -> None:
    code = (await client.begun())["device_code"]
    store = open_store(world.settings.database)
    sqlite = isinstance(world.settings.database, Path)

    def changes() -> object:
        # PostgreSQL notes the polls where nothing waits for the disk: the request stays as it is.
        return store.change_counter() if sqlite else kept("xmin::text FROM device_code")

    def kept(what: str) -> str:
        return str(store.connection.execute(f"SELECT {what}").fetchall())

    before = changes()
    for _ in range(20):
        assert await client.error(code) == "authorization_pending"
        world.clock.now += 5
    assert changes() == before
    seen = set()
    for _ in range(200):
        assert await client.error(code) in ("slow_down", "authorization_pending")
        seen.add(changes())
    assert len(seen) <= 12
    assert rows(world.settings.database, "SELECT poll_interval FROM device_code") == [(60,)]
    store.close()


async def test_slowing_down_outlives_the_process(world: World, client: Gateway) -> None:
    code = (await client.begun())["device_code"]
    for _ in range(3):
        await client.error(code)
    assert rows(world.settings.database, "SELECT poll_interval FROM device_code") == [(15,)]


async def test_a_denied_an_expired_and_an_unknown_code(world: World, client: Gateway) -> None:
    denied, late = await client.begun(login_hint="dev1"), await client.begun()
    async with approver(world) as browser:
        await browser.sign_in()
        assert "Denied" in (await browser.decide(denied["user_code"], "deny")).text
    assert await client.error(denied["device_code"]) == "access_denied"
    world.clock.now += 600
    assert await client.error(late["device_code"]) == "expired_token"
    assert await client.error("kfd_unknown") == "invalid_grant"
    async with approver(world) as browser:
        await browser.sign_in()
        page = await browser.compare(late["user_code"])
        assert (page.status, page.has("decision")) == (400, False)
    reasons = [event.reason for event in world.events if event.outcome == "refused"]
    assert reasons == [
        *("approver_denied", "device_code_expired", "device_code_unknown"),
        "user_code_over",
    ]


async def test_an_approval_that_nobody_collects_in_time_is_over(
    world: World, client: Gateway
) -> None:
    begun = await approved(world, client)
    world.clock.now += 600
    assert await client.error(begun["device_code"]) == "expired_token"


async def test_a_code_belongs_to_the_client_that_asked(world: World, client: Gateway) -> None:
    world.register.add_application(ApplicationWish("other", public=True, device_code=True))
    begun = await approved(world, client)
    other = Gateway(world, "other")
    assert await other.error(begun["device_code"]) == "invalid_grant"
    assert (await client.poll(begun["device_code"])).status_code == 200


async def test_of_many_polls_at_once_one_gets_the_token(world: World, client: Gateway) -> None:
    begun = await approved(world, client)
    answers = await asyncio.gather(*(client.poll(begun["device_code"]) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 19


async def test_a_code_is_used_up_with_its_refresh_token_or_not_at_all(world: World) -> None:
    add_operator(world)
    world.register.add_device("dev1")
    client = gateway(world, public=True, refresh=True)
    begun = await approved(world, client)
    answers = await asyncio.gather(*(client.poll(begun["device_code"]) for _ in range(10)))
    (issued,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert rows(world.settings.database, "SELECT count(*) FROM refresh_family") == [(1,)]
    renewed = await world.http.post(
        "/oauth2/token",
        data={
            "grant_type": "refresh_token",
            "refresh_token": issued["refresh_token"],
            "client_id": "setup",
        },
    )
    assert renewed.status_code == 200


@pytest.mark.sqlite  # by a trigger of its kind
async def test_nothing_is_issued_where_the_family_cannot_be_kept(world: World) -> None:
    add_operator(world)
    world.register.add_device("dev1")
    client = gateway(world, refresh=True)
    begun = await approved(world, client)
    connection = sqlite3.connect(written(world.settings.database))
    connection.execute(
        "CREATE TRIGGER broken BEFORE INSERT ON refresh_family BEGIN SELECT RAISE(ABORT, 'x'); END"
    )
    connection.commit()
    with pytest.raises(sqlite3.IntegrityError):
        await client.poll(begun["device_code"])
    connection.execute("DROP TRIGGER broken")
    connection.commit()
    connection.close()
    assert (await client.poll(begun["device_code"])).status_code == 200  # it was not used up


@pytest.mark.parametrize("back", [False, True])
async def test_what_was_approved_before_a_device_was_disabled_stays_over(
    world: World, client: Gateway, back: bool
) -> None:
    begun = await approved(world, client)
    world.register.disable_device("dev1")
    if back:
        world.register.enable_device("dev1")
    world.clock.now += 2
    assert await client.error(begun["device_code"]) == "invalid_grant"


async def test_a_removed_device_hands_no_approval_to_the_next_of_its_name(
    world: World, client: Gateway
) -> None:
    begun = await approved(world, client)
    world.register.remove_device("dev1")
    world.register.add_device(DeviceWish("dev1", rights=Rights(publish=["everything/#"])))
    world.clock.now += 2
    assert await client.error(begun["device_code"]) == "invalid_grant"


@pytest.mark.parametrize("act", ["remove", "set_password"])
async def test_what_somebody_approved_goes_with_his_password_or_account(
    world: World, client: Gateway, act: str
) -> None:
    begun = await approved(world, client)
    with operators_of(world) as operators:
        if act == "remove":
            operators.remove("alice")
        else:
            operators.set_password("alice", "another battery staple")
    assert await client.error(begun["device_code"]) == "access_denied"


async def test_an_application_of_the_same_name_inherits_no_request(
    world: World, client: Gateway
) -> None:
    begun = await approved(world, client)
    world.register.remove_application("setup")
    again = gateway(world)
    assert await again.error(begun["device_code"]) == "invalid_grant"


async def test_scopes_are_what_was_approved_and_never_more(world: World, client: Gateway) -> None:
    begun = await approved(world, client, scope="mqtt.connect mqtt.publish:dev1/a")
    answer = await client.poll(begun["device_code"])
    assert answer.json()["scope"] == "mqtt.connect mqtt.publish:dev1/a"
    wider = await approved(world, client, scope="mqtt.connect")
    more = await client.poll(wider["device_code"], scope="mqtt.publish:dev1/a")
    assert more.json()["error"] == "invalid_scope"
    assert (await client.poll(wider["device_code"])).json()["scope"] == "mqtt.connect"


async def test_only_registered_clients_may_begin_or_poll(world: World, client: Gateway) -> None:
    plain = Gateway(world, "plain", world.register.add_application("plain").secret or "")
    assert (await plain.begin()).json()["error"] == "unauthorized_client"
    begun = await client.begun()
    assert await plain.error(begun["device_code"]) == "unauthorized_client"
    for answer in (
        await Gateway(world, "setup", "kfs_wrong").begin(),
        await Gateway(world, "nobody").begin(),
        await Gateway(world, "setup").begin(),  # confidential, and shows no secret
    ):
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_an_application_for_devices_that_are_approved_takes_no_passwords(
    world: World, client: Gateway
) -> None:
    secret = world.register.rotate_secret("dev1").secret
    answer = await world.token(
        auth=("setup", client.secret), grant_type="password", username="dev1", password=secret
    )
    assert answer.json()["error"] == "unauthorized_client"


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"scope": 'a"b'}, "invalid_scope"),
        ({"scope": "a  b"}, "invalid_scope"),
        ({"scope": "a" * 2_001}, "invalid_scope"),
        ({"login_hint": "a/b"}, "invalid_request"),
        ({"login_hint": "a" * 129}, "invalid_request"),
        ({"login_hint": "kfs_a-secret-in-the-wrong-place"}, "invalid_request"),
    ],
)
async def test_what_is_not_well_formed_is_refused(
    client: Gateway, parameters: dict[str, str], error: str
) -> None:
    answer = await client.begin(**parameters)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_whether_there_is_such_a_device_only_the_approver_learns(client: Gateway) -> None:
    known, unknown = await client.begin(login_hint="dev1"), await client.begin(login_hint="dev2")
    assert known.status_code == unknown.status_code == 200
    assert known.json().keys() == unknown.json().keys()


async def test_open_requests_are_bounded_by_network_client_and_in_all(
    world: World, client: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, reason in (
        ("MAX_OPEN_OF_NETWORK", "limit_device_codes_of_network"),
        ("MAX_OPEN_OF_CLIENT", "limit_device_codes_of_client"),
        ("MAX_OPEN", "limit_device_codes"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(bounds, name, 3)
            for _ in range(3):
                await client.begun()
            answer = await client.begin()
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) > 0
            assert world.events[-1].reason == reason
        world.clock.now += 600  # those are over
    await client.begun()


async def test_the_register_keeps_no_code_and_forgets_requests(
    world: World, client: Gateway, database: Place
) -> None:
    begun = await client.begun()
    stored = str(rows(database, "SELECT * FROM device_code"))
    for secret in (begun["device_code"], begun["user_code"], read_user_code(begun["user_code"])):
        assert str(secret) not in stored
    world.clock.now += 1_300
    await client.begun()
    assert rows(database, "SELECT count(*) FROM device_code") == [(1,)]


async def test_waiting_is_no_mistake_and_no_news(world: World) -> None:
    add_operator(world)
    client = gateway(world, public=True)
    code = (await client.begun())["device_code"]
    for _ in range(30):
        await client.error(code)
    assert [event for event in world.events if event.outcome == "refused"] == []


async def test_the_metadata_names_the_endpoint_once_there_is_an_application(world: World) -> None:
    where = "/.well-known/oauth-authorization-server"
    before = (await world.http.get(where)).json()
    assert "device_authorization_endpoint" not in before
    gateway(world)
    after = (await world.http.get(where)).json()
    assert after["device_authorization_endpoint"] == (
        "https://as.example:8443/oauth2/device_authorization"
    )
    assert "urn:ietf:params:oauth:grant-type:device_code" in after["grant_types_supported"]


async def test_no_secret_is_in_a_line_of_the_audit(world: World, client: Gateway) -> None:
    begun = await approved(world, client)
    await client.poll(begun["device_code"])
    shown = repr(world.events) + repr(world.register.list_actions())
    for secret in (begun["device_code"], begun["user_code"], read_user_code(begun["user_code"])):
        assert str(secret) not in shown


async def test_who_approved_what_is_in_the_trail_and_in_the_audit(
    world: World, client: Gateway
) -> None:
    begun = await approved(world, client)
    async with approver(world) as browser:
        await browser.sign_in()
        other = await client.begun()
        await browser.decide(other["user_code"], "deny", device="dev1")
    lines = [one for one in world.register.list_actions() if one.action.startswith("device-code")]
    assert [(one.action, one.subject) for one in lines] == [
        ("device-code.approve", "dev1"),
        ("device-code.deny", "setup"),
    ]
    for line in lines:
        assert line.actor.startswith("alice at ")
        assert line.detail.startswith("for setup at ")
        assert line.result == "done"
    await client.poll(begun["device_code"])
    told = [
        (event.outcome, event.operator, event.client_id, event.subject)
        for event in world.events
        if event.outcome != "refused"
    ]
    assert told == [
        ("signed_in", "alice", "", ""),
        ("approved", "alice", "setup", "dev1"),
        ("signed_in", "alice", "", ""),
        ("denied", "alice", "setup", ""),
        ("issued", "", "setup", "dev1"),
    ]


async def test_a_token_is_bound_to_the_key_of_the_poll_that_gets_it(world: World) -> None:
    add_operator(world)
    world.register.add_device("dev1")
    client = gateway(world, public=True, refresh=True)
    begun = await approved(world, client)
    key, form = SigningKey.generate(), {"grant_type": DEVICE_CODE, "client_id": "setup"}
    form["device_code"] = begun["device_code"]
    first = await post(world, signed(key, claims_for(world.clock.now)), form)
    assert first.json()["error"] == "use_dpop_nonce"  # which does not use the code up
    nonce = first.headers["DPoP-Nonce"]
    answer = await post(world, signed(key, claims_for(world.clock.now, nonce=nonce)), form)
    assert answer.json()["token_type"] == "DPoP"
    form = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
    form["client_id"] = "setup"
    stolen = await world.http.post("/oauth2/token", data=form)
    assert stolen.status_code == 400

# SPDX-License-Identifier: Apache-2.0
"""POST /oauth2/revoke: who may end which token, and what it takes for a 200 (RFC 7009)."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import httpx
import pytest

from keyfob.errors import UpstreamError
from keyfob.server import access_tokens
from keyfob.server.signing.key_register import KeyRegister
from keyfob.server.signing.keys import loaded
from keyfob.server.signing.sealing import KeySealer
from keyfob.server.signing.settings import SigningSettings
from keyfob.server.stores.store import open_store
from keyfob.server.stores.token_revocations import StoredTokenRevocations
from keyfob.server.wishes import ApplicationWish, DeviceWish
from keyfob.tokens.sign import SigningKey
from tests.server import databases
from tests.server.refreshing import families, login
from tests.server.test_dpop import another_server
from tests.server.test_introspection_endpoint import ask, claims, own_key
from tests.server.world import World

pytestmark = pytest.mark.anyio


class Party:
    """A client and how it authenticates."""

    def __init__(self, world: World, name: str, secret: str) -> None:
        self.world, self.name = world, name
        self.auth = httpx.BasicAuth(name, secret)
        self.secret = secret

    async def token(self) -> str:
        answer = await self.world.device_token(self.name, self.secret)
        token: str = answer.json()["access_token"]
        return token

    async def revoke(self, token: str, **more: str) -> httpx.Response:
        form = {"token": token, **more}
        return await self.world.http.post("/oauth2/revoke", data=form, auth=self.auth)


def device(world: World, name: str = "dev1", **options: Any) -> Party:
    return Party(world, name, world.register.add_device(DeviceWish(name, **options)).secret)


@pytest.fixture
def asker(world: World) -> httpx.BasicAuth:
    scopes = ["keyfob.introspection", "keyfob.revocations"]
    _, secret = world.register.add_service("asker", scopes=scopes)
    return httpx.BasicAuth("asker", secret)


def rows(world: World) -> list[tuple[Any, ...]]:
    """What is on the disk, as another connection sees it."""
    return databases.rows(
        world.settings.database, "SELECT subject, token_id, until FROM revocation"
    )


async def test_a_device_ends_one_token_and_that_one_only(
    world: World, asker: httpx.BasicAuth
) -> None:
    dev1 = device(world, lifetime=60)
    first, second = await dev1.token(), await dev1.token()
    answer = await dev1.revoke(first)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"
    assert await ask(world, asker, first) == {"active": False}
    assert (await ask(world, asker, second))["active"] is True
    token_id, expires_at = world.events[0].token_id, world.events[0].expires_at
    assert rows(world) == [("dev1", token_id, expires_at + 600)]
    event = world.events[-1]
    assert (event.outcome, event.request) == ("revoked", "revocation")
    assert (event.client_id, event.subject, event.token_id) == ("dev1", "dev1", token_id)
    assert first not in repr(world.events)


async def test_a_revoked_token_keeps_no_new_one_from_its_device(world: World) -> None:
    """Only a revocation of all tokens makes a device wait for the next second."""
    dev1 = device(world)
    await dev1.revoke(await dev1.token())
    await dev1.token()
    assert world.clock.slept == []


async def test_the_feed_tells_of_the_token_by_its_id(world: World, asker: httpx.BasicAuth) -> None:
    dev1 = device(world)
    token = await dev1.token()
    waiting = asyncio.create_task(
        world.http.get("/oauth2/revocations", params={"wait": 30}, auth=asker)
    )
    await asyncio.sleep(0.15)
    assert not waiting.done()
    await dev1.revoke(token)
    document = (await asyncio.wait_for(waiting, 10)).json()
    issued = world.events[0]
    assert document["revocations"] == [
        {
            "cursor": 1,
            "subject": "dev1",
            "issued_before": int(world.clock.now),
            "until": issued.expires_at + 600,
            "reason": "revoked",
            "token_id": issued.token_id,
        }
    ]


async def test_what_is_not_good_any_more_is_a_200_and_writes_nothing(world: World) -> None:
    dev1 = device(world, lifetime=60)
    token = await dev1.token()
    for wrong in ("x", "x.y.z", token[:-4], SigningKey.generate().sign(claims(world))):
        assert (await dev1.revoke(wrong)).status_code == 200
    assert rows(world) == []
    for _ in range(3):
        assert (await dev1.revoke(token)).status_code == 200
    assert len(rows(world)) == 1
    later = await dev1.token()
    world.clock.now += 60 + 300
    assert (await dev1.revoke(later)).status_code == 200
    assert len(rows(world)) == 1
    assert [event.outcome for event in world.events] == ["issued", "revoked", "issued"]


async def test_a_200_holds_wherever_the_token_might_still_be_taken_for_good(world: World) -> None:
    """By a resource server that lets tokens outlive their exp, or when our clock is right again."""
    dev1 = device(world, lifetime=60)
    for passes in (60 + 299, -3_600):
        token = await dev1.token()
        world.clock.now += passes
        assert (await dev1.revoke(token)).status_code == 200
        assert world.events[-1].outcome == "revoked"
        world.clock.now -= passes
    assert len(rows(world)) == 2


async def test_a_key_that_another_process_made_just_now_is_found(world: World) -> None:
    dev1 = device(world)
    world.clock.now += 1
    with KeyRegister(
        open_store(world.settings.database), world.settings.signing, clock=world.clock
    ) as keys:
        keys.rotate(at_once=True)
    stored = open_store(world.settings.database)
    newest = stored.keys.all()[0]
    stored.close()
    token = loaded(newest, None).sign(claims(world))
    assert (await dev1.revoke(token)).status_code == 200
    assert len(rows(world)) == 1


async def test_a_token_of_a_key_that_cannot_be_read_is_no_200(
    world: World, asker: httpx.BasicAuth
) -> None:
    dev1 = device(world)
    world.clock.now += 1
    sealer = KeySealer(secrets.token_hex(32))
    with KeyRegister(
        open_store(world.settings.database), SigningSettings(sealer=sealer), clock=world.clock
    ) as keys:
        keys.rotate(at_once=True)
    stored = open_store(world.settings.database)
    newest = stored.keys.all()[0]
    stored.close()
    token = loaded(newest, sealer).sign(claims(world))
    assert (await dev1.revoke(token)).status_code == 503
    answer = await world.http.post("/oauth2/introspect", data={"token": token}, auth=asker)
    assert answer.status_code == 503


async def test_at_once_or_one_after_the_other_it_is_one_revocation(world: World) -> None:
    dev1 = device(world)
    token = await dev1.token()
    answers = await asyncio.gather(*(dev1.revoke(token) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(rows(world)) == 1


async def test_nobody_ends_the_token_of_another(world: World, asker: httpx.BasicAuth) -> None:
    dev1, dev2 = device(world), device(world, "dev2")
    token = await dev1.token()
    service = Party(world, "asker", "")
    service.auth = asker
    for other in (dev2, service):
        answer = await other.revoke(token)
        assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
        event = world.events[-1]
        assert (event.outcome, event.reason) == ("refused", "token_of_another")
        assert (event.client_id, event.subject) == (other.name, "dev1")
    assert (await ask(world, asker, token))["active"] is True


async def test_an_application_ends_what_it_got_and_a_device_what_was_got_for_it(
    world: World, asker: httpx.BasicAuth
) -> None:
    dev1 = device(world)
    issued = world.register.add_application("app1")
    app1 = Party(world, "app1", issued.secret or "")
    world.register.add_application(ApplicationWish("phone", public=True))

    async def through(**form: str) -> str:
        form |= {"grant_type": "password", "username": "dev1", "password": dev1.secret}
        answer = await world.http.post("/oauth2/token", data=form)
        token: str = answer.json()["access_token"]
        return token

    secret = {"client_id": "app1", "client_secret": app1.secret}
    one, two, three = await through(**secret), await through(**secret), await dev1.token()
    public = await through(client_id="phone")
    assert (await app1.revoke(three)).status_code == 400
    assert (await app1.revoke(public)).status_code == 400
    assert (await app1.revoke(one)).status_code == 200
    assert (await dev1.revoke(two)).status_code == 200
    form = {"client_id": "phone", "token": one}
    assert (await world.http.post("/oauth2/revoke", data=form)).status_code == 200  # ended already
    form = {"client_id": "phone", "token": public}
    assert (await world.http.post("/oauth2/revoke", data=form)).status_code == 200
    told = [(await ask(world, asker, token))["active"] for token in (one, two, public, three)]
    assert told == [False, False, False, True]


@pytest.mark.parametrize("hint", ["refresh_token", "nonsense"])
async def test_a_wrong_hint_changes_nothing(
    world: World, asker: httpx.BasicAuth, hint: str
) -> None:
    dev1 = device(world)
    token = await dev1.token()
    assert (await dev1.revoke(token, token_type_hint=hint)).status_code == 200
    assert await ask(world, asker, token) == {"active": False}


async def test_a_jwt_of_ours_that_is_no_access_token_cannot_be_revoked(world: World) -> None:
    """A 200 would say that it is ended; RFC 7009 section 2.2.1 has a word for it."""
    answer = await device(world).revoke(own_key(world).sign(claims(world), typ="secevent+jwt"))
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_token_type")


async def test_who_does_not_authenticate_ends_nothing(world: World, asker: httpx.BasicAuth) -> None:
    dev1 = device(world)
    token = await dev1.token()
    post = world.http.post
    form = {"token": token}
    wrong = httpx.BasicAuth("dev1", "kfs_wrong")
    assert (await post("/oauth2/revoke", data=form, auth=wrong)).status_code == 401
    assert (await post("/oauth2/revoke", data=form)).status_code == 401
    assert (await post("/oauth2/revoke", data={**form, "client_id": "dev1"})).status_code == 401
    assert (await post("/oauth2/revoke", data={}, auth=dev1.auth)).status_code == 400
    assert (await post(f"/oauth2/revoke?token={token}", auth=dev1.auth)).status_code == 400
    assert (await world.http.get("/oauth2/revoke", auth=dev1.auth)).status_code == 405
    assert (await ask(world, asker, token))["active"] is True
    assert {event.outcome for event in world.events[1:]} == {"refused"}


async def test_one_device_cannot_fill_the_memory_of_all_guards(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_tokens, "MAX_REVOKED_TOKENS", 2)
    dev1, dev2 = device(world, lifetime=60), device(world, "dev2")
    answers = [await dev1.revoke(await dev1.token()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 503]
    answer = answers[-1]
    assert answer.json()["error"] == "temporarily_unavailable"
    assert "retry-after" in answer.headers
    assert world.events[-1].reason == "too_many_revocations"
    assert (await dev2.revoke(await dev2.token())).status_code == 200
    world.clock.now += 700  # and those of before have stopped to matter
    assert (await dev1.revoke(await dev1.token())).status_code == 200


async def test_no_200_where_it_could_not_be_written(
    world: World, asker: httpx.BasicAuth, monkeypatch: pytest.MonkeyPatch
) -> None:
    dev1 = device(world)
    token = await dev1.token()

    async def fails(self: object, **_: object) -> bool:
        raise UpstreamError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(StoredTokenRevocations, "revoke_token", fails)
        answer = await dev1.revoke(token)
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
        assert world.events[-1].reason == "store_unavailable"
    assert (await ask(world, asker, token))["active"] is True
    assert (await dev1.revoke(token)).status_code == 200


async def test_a_removed_device_can_be_revoked_no_token_of(
    world: World, asker: httpx.BasicAuth
) -> None:
    """All of its tokens are, and one that has its name now is not to blame for them."""
    dev1 = device(world)
    token = await dev1.token()
    world.register.remove_device("dev1")
    again = device(world)
    assert (await again.revoke(token)).status_code == 200
    assert len(rows(world)) == 1


async def test_a_refresh_token_is_ended_with_its_family_by_its_client_or_device(
    world: World,
) -> None:
    one = await login(world)
    other = world.register.add_application(ApplicationWish("other", refresh=True)).secret
    assert other is not None
    successor = await one.renewed(one.refresh_token)
    answer = await Party(world, "other", other).revoke(successor)
    assert answer.json()["error"] == "unauthorized_client"
    assert families(world.settings.database) == [("dev1", "")]
    assert (await Party(world, one.application, one.secret).revoke(successor)).status_code == 200
    event = world.events[-1]
    assert (event.outcome, event.request) == ("revoked", "revocation")
    assert (event.client_id, event.subject, event.token_id) == ("gateway", "dev1", "")
    assert (await one.refresh(successor)).json()["error"] == "invalid_grant"
    world.clock.now += 1
    second = (await one.again()).json()["refresh_token"]
    assert (await Party(world, "dev1", one.device_secret).revoke(second)).status_code == 200
    assert (await one.refresh(second)).json()["error"] == "invalid_grant"


async def test_a_token_for_a_resource_that_is_registered_no_more_can_be_revoked(
    world: World,
) -> None:
    """Whoever it is for takes it for good until it ends, whatever this server has registered."""
    dev1 = device(world)
    async with another_server(world, resources={"urn:broker:old": "old-broker"}) as before:
        answer = await before.device_token("dev1", dev1.secret, resource="urn:broker:old")
        token = answer.json()["access_token"]
    forged = token[:-8] + "AAAAAAAA"
    assert (await dev1.revoke(forged)).status_code == 200
    assert rows(world) == []
    assert (await dev1.revoke(token)).status_code == 200
    assert [row[0] for row in rows(world)] == ["dev1"]

# SPDX-License-Identifier: Apache-2.0
"""The refresh token grant (RFC 6749 section 6, RFC 9700 section 4.14)."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable

import httpx
import pytest

from keyfob.server.app import create_app
from keyfob.server.credentials import hash_secret
from keyfob.server.issue import Access
from keyfob.server.lifetimes import RefreshLifetimes
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.refresh_family import GRACE
from keyfob.server.refresh_token import RefreshToken
from keyfob.server.refresh_tokens import RefreshTokens
from keyfob.server.settings import ServerSettings
from keyfob.server.signing.key_register import KeyRegister
from keyfob.server.stores.reads import InLoop
from keyfob.server.stores.refresh_families import MAX_FAMILIES, StoredRefreshFamilies
from keyfob.server.stores.store import open_store
from keyfob.server.stores.writer import Writer
from keyfob.server.wishes import ApplicationWish
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import jwks_of
from tests.server.databases import connected, everything, impatient
from tests.server.refreshing import Login, families, log_in, login, refresh, rotate_beyond_reach
from tests.server.world import World, claims_of

pytestmark = pytest.mark.anyio

REFUSED = {"error": "invalid_grant", "error_description": "the refresh token is not valid"}


def refused(answer: httpx.Response) -> bool:
    """Say whether a refresh was refused; every reason looks the same."""
    if answer.status_code == 200:
        return False
    assert (answer.status_code, answer.json()) == (400, REFUSED)
    assert answer.headers["cache-control"] == "no-store"
    return True


async def spent(one: Login) -> tuple[str, str]:
    """Use the first token and the second, so that the first one is out of its grace."""
    second = await one.renewed(one.refresh_token)
    return one.refresh_token, await one.renewed(second)


@pytest.mark.parametrize("public", [False, True])
async def test_each_use_gives_another_access_token_and_another_refresh_token(
    world: World, public: bool
) -> None:
    one = await login(world, public=public)
    jwks = (await world.http.get("/oauth2/jwks")).json()
    token, seen, ids = one.refresh_token, {one.refresh_token}, set()
    for _ in range(5):
        world.clock.now += 60
        answer = await one.refresh(token)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        document = answer.json()
        _, claims = claims_of(document["access_token"], jwks)
        assert (claims["sub"], claims["client_id"]) == ("dev1", "gateway")
        assert claims["iat"] == int(world.clock.now)
        token = document["refresh_token"]
        seen.add(token)
        ids.add(claims["jti"])
    assert (len(seen), len(ids)) == (6, 5)
    event = world.events[-1]
    assert (event.outcome, event.grant_type, event.subject) == ("issued", "refresh_token", "dev1")


async def test_only_who_is_registered_for_it_gets_one_or_uses_one(world: World) -> None:
    world.register.add_application(ApplicationWish("plain", public=True))
    one = await login(world)
    answer = await log_in(world, "plain", "", "dev1", one.device_secret)
    assert answer.status_code == 200
    assert "refresh_token" not in answer.json()
    answer = await refresh(world, "plain", "", one.refresh_token)
    assert answer.json()["error"] == "unauthorized_client"
    assert not refused(await one.refresh(one.refresh_token))


async def test_client_credentials_never_get_one(world: World) -> None:
    """RFC 6749 section 4.4.3."""
    device = world.register.add_device("dev1")
    answer = await world.device_token("dev1", device.secret)
    assert answer.status_code == 200
    assert "refresh_token" not in answer.json()


async def test_a_missing_token_is_an_invalid_request(world: World) -> None:
    one = await login(world)
    assert (await one.refresh("")).json()["error"] == "invalid_request"


@pytest.mark.parametrize("text", ["x", "kfr_", "kfr_" + "A" * 96, "kfs_" + "A" * 43, "\x00"])
async def test_what_is_none_of_ours_is_refused(world: World, text: str) -> None:
    one = await login(world)
    assert refused(await one.refresh(text))
    assert world.events[-1].reason == "refresh_token_unknown"
    assert not refused(await one.refresh(one.refresh_token))


async def test_it_belongs_to_the_client_that_it_was_issued_to(world: World) -> None:
    one = await login(world)
    world.register.add_application(ApplicationWish("other", public=True, refresh=True))
    assert refused(await refresh(world, "other", "", one.refresh_token))
    assert world.events[-1].reason == "refresh_token_of_other_client"
    assert not refused(await one.refresh(one.refresh_token))


async def test_within_the_grace_the_old_token_gets_the_same_successor(world: World) -> None:
    one = await login(world)
    second = await one.renewed(one.refresh_token)
    for _ in range(3):
        assert await one.renewed(one.refresh_token) == second
    world.clock.now += GRACE - 0.01
    assert await one.renewed(one.refresh_token) == second
    assert not refused(await one.refresh(second))


@pytest.mark.parametrize("late", [False, True])
async def test_reuse_ends_the_family(world: World, late: bool) -> None:
    """Late, or early but after the successor was used: neither token nor successor lives."""
    one = await login(world)
    last = await one.renewed(one.refresh_token)
    if late:
        world.clock.now += GRACE
    else:
        last = await one.renewed(last)
    assert refused(await one.refresh(one.refresh_token))
    event = world.events[-1]
    assert (event.reason, event.subject) == ("refresh_token_reused", "dev1")
    assert families(world.settings.database) == [("dev1", "reused")]
    assert refused(await one.refresh(last))
    event = world.events[-1]
    assert (event.reason, event.subject) == ("refresh_family_ended", "dev1")
    assert "refresh_token" in (await one.again()).json()


async def test_reuse_ends_that_family_only(world: World) -> None:
    one = await login(world)
    other = (await one.again()).json()["refresh_token"]
    old, _ = await spent(one)
    assert refused(await one.refresh(old))
    assert not refused(await one.refresh(other))


async def test_a_scope_is_narrowed_for_one_token_and_never_widened(world: World) -> None:
    one = await login(world)
    token = (await one.again(scope="mqtt.connect mqtt.publish:dev1/#")).json()["refresh_token"]
    answer = await one.refresh(token, scope="mqtt.publish:dev1/a")
    assert answer.json()["scope"] == "mqtt.publish:dev1/a"
    token = answer.json()["refresh_token"]
    for scope in ("billing", "mqtt.publish:#", "mqtt.connect billing"):
        assert (await one.refresh(token, scope=scope)).json()["error"] == "invalid_scope"
    answer = await one.refresh(token)
    assert answer.json()["scope"] == "mqtt.connect mqtt.publish:dev1/#"


async def test_a_refused_scope_costs_no_token(world: World) -> None:
    one = await login(world)
    assert (await one.refresh(one.refresh_token, scope="admin")).status_code == 400
    world.clock.now += GRACE + 1
    assert not refused(await one.refresh(one.refresh_token))


async def test_what_the_device_is_no_longer_registered_for_is_gone(world: World) -> None:
    one = await login(world)
    with connected(world.settings.database) as connection:
        connection.execute(
            "UPDATE client SET scopes = 'mqtt.publish:dev1/a' WHERE client_id = 'dev1'"
        )
    # What was granted is wider than what is left: nothing of it is covered.
    assert refused(await one.refresh(one.refresh_token))
    assert world.events[-1].reason == "scopes_withdrawn"
    with connected(world.settings.database) as connection:
        connection.execute(
            "UPDATE client SET scopes = 'mqtt.publish:# new' WHERE client_id = 'dev1'"
        )
    answer = await one.refresh(one.refresh_token)
    assert answer.json()["scope"] == "mqtt.publish:dev1/#"


@pytest.mark.parametrize("client", ["device", "application"])
async def test_a_client_that_is_removed_takes_its_families_with_it(
    world: World, client: str
) -> None:
    one = await login(world)
    if client == "device":
        world.register.remove_device("dev1")
        world.register.add_device("dev1")
        assert refused(await one.refresh(one.refresh_token))
    else:
        world.register.remove_application("gateway")
        world.register.add_application(ApplicationWish("gateway", public=True, refresh=True))
        assert refused(await refresh(world, "gateway", "", one.refresh_token))
    assert families(world.settings.database) == []


async def test_a_disabled_devices_families_stay_dead_when_it_is_enabled(world: World) -> None:
    one = await login(world)
    world.register.disable_device("dev1")
    assert refused(await one.refresh(one.refresh_token))
    world.register.enable_device("dev1")
    assert refused(await one.refresh(one.refresh_token))
    assert families(world.settings.database) == [("dev1", "disabled")]
    world.clock.now += 2
    assert "refresh_token" in (await one.again()).json()


async def test_a_disabled_application_takes_its_families_with_it(world: World) -> None:
    one = await login(world)
    store = open_store(world.settings.database)
    with store.transaction():
        store.set_disabled("gateway", world.clock.now)
        store.set_disabled("gateway", None)
    store.close()
    assert refused(await one.refresh(one.refresh_token))


async def test_a_new_secret_ends_what_the_old_one_may_have_got(world: World) -> None:
    one = await login(world)
    world.register.rotate_secret("dev1")
    assert refused(await one.refresh(one.refresh_token))
    assert families(world.settings.database) == [("dev1", "secret_changed")]


async def test_keys_instead_of_the_secret_end_what_the_secret_may_have_got(world: World) -> None:
    one = await login(world)
    keys = jwks_of(SigningKey.generate())
    world.register.set_device_jwks("dev1", keys)
    assert families(world.settings.database) == [("dev1", "")]
    world.register.set_device_jwks("dev1", keys, remove_secret=True)
    assert refused(await one.refresh(one.refresh_token))
    assert families(world.settings.database) == [("dev1", "secret_changed")]


async def test_a_login_that_a_disabling_overtakes_begins_no_family(world: World) -> None:
    """Between the check of the device's secret and the family, the operator was faster."""
    one = await login(world)
    for operation in ("disable", "disable and enable"):
        world.clock.now += 5
        go_on = login_in_two_steps(world, one)
        world.register.disable_device("dev1")
        if operation != "disable":
            world.register.enable_device("dev1")
        with pytest.raises(OAuthError, match="ended_meanwhile"):
            await go_on()
        world.register.enable_device("dev1")
    assert [ended for _, ended in families(world.settings.database)] == ["disabled"]


async def test_a_login_that_a_new_secret_overtakes_begins_no_family(world: World) -> None:
    """Whoever has the old secret has no way to keep what it opened."""
    one = await login(world)
    go_on = login_in_two_steps(world, one)
    world.register.rotate_secret("dev1")
    with pytest.raises(OAuthError, match="ended_meanwhile"):
        await go_on()
    assert families(world.settings.database) == [("dev1", "secret_changed")]


async def test_one_token_that_is_revoked_keeps_nobody_from_logging_in(world: World) -> None:
    one = await login(world)
    token = (await one.again()).json()["access_token"]
    auth = httpx.BasicAuth(one.application, one.secret)
    answer = await world.http.post("/oauth2/revoke", data={"token": token}, auth=auth)
    assert answer.status_code == 200
    assert "refresh_token" in (await one.again()).json()  # in the same second


async def test_families_that_have_ended_give_way_before_one_that_lives(world: World) -> None:
    one = await login(world)
    auth = httpx.BasicAuth(one.application, one.secret)
    for _ in range(MAX_FAMILIES):
        world.clock.now += 1
        token = (await one.again()).json()["refresh_token"]
        await world.http.post("/oauth2/revoke", data={"token": token}, auth=auth)
    assert not refused(await one.refresh(one.refresh_token))


async def test_a_key_that_cannot_be_read_costs_no_refresh_token(world: World) -> None:
    """Who is told to come back later has lost nothing when he does."""
    one = await login(world)
    world.clock.now += 10
    await rotate_beyond_reach(world)
    world.clock.now += 1
    assert (await one.refresh(one.refresh_token)).status_code == 503
    assert (await one.again()).status_code == 503
    with KeyRegister(
        open_store(world.settings.database), world.settings.signing, clock=world.clock
    ) as keys:
        keys.rotate(at_once=True)
    await world.keyring.refresh()
    world.clock.now += 60
    assert not refused(await one.refresh(one.refresh_token))
    assert families(world.settings.database) == [("dev1", "")]


def login_in_two_steps(world: World, one: Login) -> Callable[[], Awaitable[None]]:
    """Stop a login right before its family begins; return what goes on."""
    store = open_store(world.settings.database)
    writer = Writer(world.settings.database)
    tokens = RefreshTokens(
        StoredRefreshFamilies(InLoop(store), writer), RefreshLifetimes(), world.clock
    )
    now = world.clock.now

    async def go_on() -> None:
        try:
            await tokens.issue(
                Access(
                    subject=one.device,
                    client_id=one.application,
                    scopes=("mqtt.connect",),
                    lifetime=None,
                    revoked_through=0,
                    renewable=True,
                    secret_hash=hash_secret(one.device_secret),
                ),
                ("mqtt.connect",),
                now=now,
            )
        finally:
            writer.close()
            store.close()

    return go_on


async def test_it_ends_when_it_is_idle_and_when_its_time_is_over(
    settings: ServerSettings, world: World
) -> None:
    one = await login(world)
    token = one.refresh_token
    lifetimes = settings.refresh
    began = world.clock.now
    while world.clock.now + lifetimes.idle - 1 < began + lifetimes.total:
        world.clock.now += lifetimes.idle - 1
        token = await one.renewed(token)
    world.clock.now = began + lifetimes.total - 1
    token = await one.renewed(token)
    world.clock.now += 1
    assert refused(await one.refresh(token))
    assert world.events[-1].reason == "refresh_token_expired"
    token = (await one.again()).json()["refresh_token"]
    world.clock.now += lifetimes.idle
    assert refused(await one.refresh(token))
    assert families(settings.database) == [("dev1", "")]  # the first one is no longer kept


async def test_one_device_keeps_a_bounded_number_of_families(world: World) -> None:
    one = await login(world)
    tokens = []
    for _ in range(MAX_FAMILIES):
        world.clock.now += 1
        tokens.append((await one.again()).json()["refresh_token"])
    assert len(families(world.settings.database)) == MAX_FAMILIES
    assert refused(await one.refresh(one.refresh_token))
    assert not refused(await one.refresh(tokens[0]))
    world.clock.now -= 3600  # a clock set back: the newest login is still the one that stays
    token = (await one.again()).json()["refresh_token"]
    assert not refused(await one.refresh(token))


async def test_a_hundred_at_once_get_one_successor(world: World) -> None:
    one = await login(world)
    answers = await asyncio.gather(*(one.refresh(one.refresh_token) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {200}
    (successor,) = {answer.json()["refresh_token"] for answer in answers}
    assert not refused(await one.refresh(successor))


async def test_a_register_set_back_to_an_earlier_copy_answers_no_older_token(
    world: World,
) -> None:
    one = await login(world)
    second = await one.renewed(one.refresh_token)
    with connected(world.settings.database) as connection:
        copy = connection.execute("SELECT counter, digest, previous FROM refresh_family").fetchone()
        third = await one.renewed(second)
        fourth = await one.renewed(third)
        connection.execute("UPDATE refresh_family SET counter = ?, digest = ?, previous = ?", copy)
    assert refused(await one.refresh(fourth))
    assert refused(await one.refresh(second))


async def test_no_token_is_in_the_database_or_in_what_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    one = await login(world)
    old, last = await spent(one)
    assert refused(await one.refresh(old))
    await world.token(grant_type="refresh_token", client_id=last, refresh_token=last)
    await world.token(grant_type=last, client_id="gateway", username=last)
    told = repr(world.events) + caplog.text
    stored = everything(world.settings.database)
    for text in (old, last):
        token = RefreshToken.parse(text)
        assert token is not None
        assert text not in told
        assert text.encode() not in stored
        assert token.secret not in stored
        assert token.tag not in stored
    assert "kfr_" not in told


async def test_a_family_is_over_when_its_client_or_device_says_so(
    world: World,
) -> None:
    """What the revocation endpoint calls (RFC 7009 section 2.1)."""
    one = await login(world)
    other = (await one.again()).json()["refresh_token"]
    store = open_store(world.settings.database)
    writer = Writer(world.settings.database)
    tokens = RefreshTokens(
        StoredRefreshFamilies(InLoop(store), writer), RefreshLifetimes(), world.clock
    )
    old, last = await spent(one)
    for text in ("", "x", "kfr_" + "A" * 96):
        assert not await tokens.revoke_family_of(text, "gateway")
    with pytest.raises(OAuthError, match="token_of_another"):
        await tokens.revoke_family_of(last, "other")
    last = await one.renewed(last)
    assert await tokens.revoke_family_of(old, "gateway")
    assert await tokens.revoke_family_of(last, "gateway")  # again: it is over, as asked
    third = (await one.again()).json()["refresh_token"]
    assert await tokens.revoke_family_of(third, "dev1") == "dev1"
    writer.close()
    store.close()
    assert refused(await one.refresh(last))
    assert refused(await one.refresh(third))
    assert not refused(await one.refresh(other))


async def test_where_the_database_cannot_be_written_nothing_is_answered_or_lost(
    settings: ServerSettings, world: World
) -> None:
    one = await login(world)
    store = open_store(settings.database)
    writer = Writer(settings.database, most=1)
    await writer.run(impatient)  # its one thread does all that follows
    tokens = RefreshTokens(
        StoredRefreshFamilies(InLoop(store), writer), RefreshLifetimes(), world.clock
    )
    token, family = await tokens.open(one.refresh_token, "gateway")
    access = Access(
        subject="dev1",
        client_id="gateway",
        scopes=family.scopes,
        lifetime=None,
        revoked_through=0,
        refresh_token=token,
    )
    with store.transaction():
        with pytest.raises(OAuthError) as error:
            await tokens.issue(access, family.scopes, now=world.clock.now)
        assert (error.value.error, error.value.status) == ("temporarily_unavailable", 503)
    writer.close()
    store.close()
    world.clock.now += GRACE + 1
    assert not refused(await one.refresh(one.refresh_token))


async def test_lifetimes_are_the_servers(settings: ServerSettings, world: World) -> None:
    one = await login(world)
    short = dataclasses.replace(settings, refresh=RefreshLifetimes(total=100, idle=1000))
    app = create_app(short, clock=world.clock)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://as.example") as http,
    ):
        two = Login(
            dataclasses.replace(world, http=http),
            one.device,
            one.device_secret,
            one.application,
            one.secret,
            "",
        )
        token = (await two.again()).json()["refresh_token"]
        world.clock.now += 99
        token = await two.renewed(token)
        world.clock.now += 1
        assert refused(await two.refresh(token))

# SPDX-License-Identifier: Apache-2.0
"""Opaque access tokens: what introspection tells of them, how they end, what is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import random
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from keyfob.server.app import create_app
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.opaque_tokens import MAX_OPAQUE_TOKENS, is_opaque_token
from keyfob.server.stores.store import open_store
from keyfob.server.wishes import ApplicationWish, ChangeWish, DeviceWish, Rights
from keyfob.tokens.opaque import MAX_OPAQUE_BYTES, MIN_OPAQUE_BYTES, opaque_issuer
from tests.server.databases import all_impatient, everything
from tests.server.world import ISSUER, World

pytestmark = pytest.mark.anyio

OPAQUE = ClientMetadata(access_token_format="opaque")
Asker = tuple[str, str]


@pytest.fixture
def asker(world: World) -> Asker:
    return "asker", world.register.add_service("asker", scopes=["keyfob.introspection"])[1]


async def told(world: World, asker: Asker, token: str) -> Any:
    answer = await world.http.post("/oauth2/introspect", data={"token": token}, auth=asker)
    assert answer.status_code == 200
    return answer.json()


async def issued(world: World, name: str = "dev1", **more: str) -> tuple[str, str]:
    """Register a device for opaque tokens; return its secret and a token."""
    secret = world.register.add_device(
        DeviceWish(name, rights=Rights(publish=["a/{device}"]), metadata=OPAQUE)
    ).secret
    return secret, (await world.device_token(name, secret, **more)).json()["access_token"]


@contextlib.asynccontextmanager
async def another_server(world: World, **changes: Any) -> AsyncIterator[World]:
    app = create_app(dataclasses.replace(world.settings, **changes), clock=world.clock)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http,
    ):
        yield dataclasses.replace(world, http=http)


async def test_a_token_has_256_random_bits_behind_a_prefix_and_says_nothing(world: World) -> None:
    _, token = await issued(world)
    assert re.fullmatch(r"kfa_[A-Za-z0-9_-]{43}", token)
    assert is_opaque_token(token)
    assert MIN_OPAQUE_BYTES <= len(token) <= MAX_OPAQUE_BYTES
    _, other = await issued(world, "dev2")
    assert token != other


async def test_the_guard_takes_it_for_opaque_by_its_prefix(world: World) -> None:
    _, token = await issued(world)
    sentinel: Any = object()
    assert opaque_issuer(token.encode(), {b"kfa_": sentinel}) is sentinel


async def test_introspection_tells_all_that_a_jwt_would_say(world: World, asker: Asker) -> None:
    _, token = await issued(world, scope="mqtt.connect")
    document = await told(world, asker, token)
    assert document.pop("jti")
    assert document == {
        "active": True,
        "iss": ISSUER,
        "sub": "dev1",
        "client_id": "dev1",
        "aud": "mqtt",
        "scope": "mqtt.connect",
        "iat": int(world.clock.now),
        "exp": int(world.clock.now) + 3600,
        "token_type": "Bearer",
    }
    assert world.events[-1].outcome == "issued"


async def test_the_audit_names_its_jti_and_never_the_token(world: World, asker: Asker) -> None:
    _, token = await issued(world)
    event = world.events[-1]
    assert event.token_id == (await told(world, asker, token))["jti"]
    assert token not in repr(world.events)


async def test_the_server_may_make_all_opaque_and_a_client_may_keep_jwts(
    world: World, asker: Asker
) -> None:
    plain = world.register.add_device("dev1").secret
    jwt = world.register.add_device(
        DeviceWish("dev2", metadata=ClientMetadata(access_token_format="jwt"))
    ).secret
    async with another_server(world, access_token_format="opaque") as server:
        token = (await server.device_token("dev1", plain)).json()["access_token"]
        assert is_opaque_token(token)
        assert (await told(server, asker, token))["sub"] == "dev1"
        token = (await server.device_token("dev2", jwt)).json()["access_token"]
        assert token.count(".") == 2
    assert (await told(world, asker, token))["sub"] == "dev2"


async def test_an_applications_choice_is_for_the_tokens_that_it_gets(
    world: World, asker: Asker
) -> None:
    device = world.register.add_device("dev1").secret
    world.register.add_application(
        ApplicationWish("app", public=True, refresh=True, metadata=OPAQUE)
    )
    form = {"grant_type": "password", "client_id": "app", "username": "dev1", "password": device}
    document = (await world.http.post("/oauth2/token", data=form)).json()
    assert (await told(world, asker, document["access_token"]))["client_id"] == "app"
    form = {"grant_type": "refresh_token", "client_id": "app"}
    form |= {"refresh_token": document["refresh_token"]}
    document = (await world.http.post("/oauth2/token", data=form)).json()
    assert is_opaque_token(document["access_token"])
    assert (await told(world, asker, document["access_token"]))["sub"] == "dev1"


# How it ends


async def test_it_ends_by_its_exp(world: World, asker: Asker) -> None:
    _, token = await issued(world)
    world.clock.now += 3599
    assert (await told(world, asker, token))["active"] is True
    world.clock.now += 1
    assert await told(world, asker, token) == {"active": False}


@pytest.mark.parametrize("how", ["disable_device", "remove_device"])
async def test_it_ends_with_its_device_and_never_comes_back(
    world: World, asker: Asker, how: str
) -> None:
    _, token = await issued(world)
    getattr(world.register, how)("dev1")
    assert await told(world, asker, token) == {"active": False}
    world.clock.now += 1
    if how == "disable_device":
        world.register.enable_device("dev1")
    else:
        world.register.add_device("dev1")
    assert await told(world, asker, token) == {"active": False}


async def test_a_revocation_ends_it_and_reaches_guards(world: World, asker: Asker) -> None:
    secret, token = await issued(world)
    other = (await world.device_token("dev1", secret)).json()["access_token"]
    token_id = (await told(world, asker, token))["jti"]
    guard = world.register.ensure_guard_client("guard")
    answer = await world.http.post("/oauth2/revoke", data={"token": token}, auth=("dev1", secret))
    assert (answer.status_code, answer.content) == (200, b"")
    assert await told(world, asker, token) == {"active": False}
    assert (await told(world, asker, other))["active"] is True
    feed = (await world.http.get("/oauth2/revocations", auth=("guard", guard))).text
    assert token_id in feed
    assert world.events[-1].outcome == "revoked"


async def test_nobody_elses_token_is_ended(world: World, asker: Asker) -> None:
    _, token = await issued(world)
    other = world.register.add_device("dev2").secret
    answer = await world.http.post("/oauth2/revoke", data={"token": token}, auth=("dev2", other))
    assert answer.json()["error"] == "unauthorized_client"
    assert (await told(world, asker, token))["active"] is True


@pytest.mark.parametrize(
    "shown",
    [
        "kfa_" + "A" * 43,
        "kfa_" + "A" * 42,
        "kfa_" + "A" * 44,
        "kfa_",
        "KFA_" + "A" * 43,
        "kfa_' OR 1=1 --",
        "kfa_" + "\0" * 43,
    ],
)
async def test_what_is_no_token_is_inactive_and_ends_nothing(
    world: World, asker: Asker, shown: str
) -> None:
    secret, token = await issued(world)
    assert await told(world, asker, shown) == {"active": False}
    answer = await world.http.post("/oauth2/revoke", data={"token": shown}, auth=("dev1", secret))
    assert answer.status_code == 200
    assert (await told(world, asker, token))["active"] is True


async def test_a_changed_token_is_none(world: World, asker: Asker) -> None:
    _, token = await issued(world)
    for place in range(len(token)):
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert await told(world, asker, changed) == {"active": False}


# What is kept


async def test_the_database_holds_its_hash_and_no_token(world: World, asker: Asker) -> None:
    secret, token = await issued(world)
    store = open_store(world.settings.database)
    rows = store.connection.execute("SELECT token_hash, claims FROM opaque_token").fetchall()
    store.close()
    dump = everything(world.settings.database)
    assert [row[0] for row in rows] == [hashlib.sha256(token.encode()).digest()]
    assert json.loads(rows[0][1])["sub"] == "dev1"
    assert token.removeprefix("kfa_").encode() not in dump
    # What the database holds is no credential.
    for guess in (rows[0][0].hex(), "kfa_" + rows[0][0].hex()[:43]):
        assert await told(world, asker, guess) == {"active": False}
    assert secret.encode() not in dump


async def test_it_is_on_the_disk_with_the_answer_and_good_in_another_process(
    world: World, asker: Asker
) -> None:
    _, token = await issued(world)
    async with another_server(world) as second:
        assert (await told(second, asker, token))["sub"] == "dev1"


async def test_a_token_that_cannot_be_kept_is_not_given_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = world.register.add_device(DeviceWish("dev1", metadata=OPAQUE)).secret
    all_impatient(monkeypatch)
    store = open_store(world.settings.database)
    with store.transaction():
        answer = await world.device_token("dev1", secret)
    store.close()
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")


async def test_of_one_device_there_are_so_many_and_the_oldest_give_way(
    world: World, asker: Asker
) -> None:
    """All within one second: which is the newest must not be a matter of luck."""
    secret, first = await issued(world)
    _, other = await issued(world, "dev2")
    answers = [await world.device_token("dev1", secret) for _ in range(MAX_OPAQUE_TOKENS + 2)]
    tokens = [first, *(answer.json()["access_token"] for answer in answers)]
    good = [(await told(world, asker, token))["active"] for token in tokens]
    assert good == [False] * 3 + [True] * MAX_OPAQUE_TOKENS
    assert (await told(world, asker, other))["active"] is True


async def test_a_token_that_has_ended_gives_way_before_one_that_lives(
    world: World, asker: Asker
) -> None:
    """Whichever is older: what has ended is kept for a while, so that it can be revoked."""
    secret, lasting = await issued(world)
    world.register.change_device("dev1", ChangeWish(lifetime=1))
    for _ in range(MAX_OPAQUE_TOKENS):
        assert (await world.device_token("dev1", secret)).status_code == 200
        world.clock.now += 2
    last = (await world.device_token("dev1", secret)).json()["access_token"]
    assert (await told(world, asker, lasting))["active"] is True
    assert (await told(world, asker, last))["active"] is True
    store = open_store(world.settings.database)
    count = store.connection.execute("SELECT count(*) FROM opaque_token").fetchone()
    store.close()
    assert count == (MAX_OPAQUE_TOKENS,)


async def test_what_is_over_is_removed(world: World) -> None:
    secret, _ = await issued(world)
    await issued(world, "dev2")
    world.clock.now += 3600 + 86_400
    await world.device_token("dev1", secret)
    store = open_store(world.settings.database)
    assert store.connection.execute("SELECT count(*) FROM opaque_token").fetchone() == (1,)
    store.close()


async def test_a_device_that_waits_gets_a_token_that_is_not_revoked_from_its_birth(
    world: World, asker: Asker
) -> None:
    secret, _ = await issued(world)
    world.register.disable_device("dev1")
    world.register.enable_device("dev1")
    token = (await world.device_token("dev1", secret)).json()["access_token"]
    assert (await told(world, asker, token))["active"] is True


async def test_a_name_cannot_look_like_a_token(world: World) -> None:
    with pytest.raises(Exception, match="secrets do"):
        world.register.add_device("kfa_x")


# Of one mind with JWTs


@pytest.mark.parametrize("seed", range(6))
async def test_it_lives_and_dies_exactly_as_a_jwt_of_the_same_moment(
    world: World, asker: Asker, seed: int
) -> None:
    """Whatever is done to device and tokens, in whatever order."""
    chance = random.Random(seed)
    secret = world.register.add_device("dev1").secret
    pairs: list[tuple[str, str]] = []

    async def issue() -> None:
        tokens = []
        for metadata in (OPAQUE, ClientMetadata()):
            world.register.set_device_tokens("dev1", metadata)
            answer = await world.device_token("dev1", secret)
            tokens.append(answer.json().get("access_token", ""))
        if all(tokens):
            pairs.append((tokens[0], tokens[1]))

    async def revoke() -> None:
        for token in chance.choice(pairs) if pairs else ():
            await world.http.post("/oauth2/revoke", data={"token": token}, auth=("dev1", secret))

    for _ in range(40):
        match chance.randrange(6):
            case 0 | 1:
                await issue()
            case 2:
                await revoke()
            case 3:
                world.register.disable_device("dev1")
            case 4:
                world.register.enable_device("dev1")
            case _:
                world.clock.now += chance.choice((0.3, 1, 1200))
        for opaque, jwt in pairs:
            assert (await told(world, asker, opaque))["active"] == (await told(world, asker, jwt))[
                "active"
            ]
    assert pairs

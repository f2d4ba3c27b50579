# SPDX-License-Identifier: Apache-2.0
"""POST /oauth2/introspect: who may ask, and what is told of a token (RFC 7662)."""

from __future__ import annotations

import base64
import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.server.access_tokens import SignedAccessTokens
from keyfob.server.refresh_family import Family
from keyfob.server.settings import ServerSettings
from keyfob.server.stores.refresh_families import _add
from keyfob.server.stores.store import open_store
from keyfob.server.token_lookup import OtherTokenTypeError
from keyfob.server.wishes import DeviceWish, Rights
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from tests.server.world import ISSUER, World

pytestmark = pytest.mark.anyio

INACTIVE = {"active": False}


@pytest.fixture
def asker(world: World) -> httpx.BasicAuth:
    _, secret = world.register.add_service("asker", scopes=["keyfob.introspection"])
    return httpx.BasicAuth("asker", secret)


async def ask(world: World, auth: httpx.BasicAuth, token: str, **more: str) -> dict[str, Any]:
    form = {"token": token, **more}
    answer = await world.http.post("/oauth2/introspect", data=form, auth=auth)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    document: dict[str, Any] = answer.json()
    return document


async def enrolled(world: World, device: str = "dev1", **options: Any) -> str:
    issued = world.register.add_device(
        DeviceWish(device, rights=Rights(publish=["a/{device}"]), **options)
    )
    token: str = (await world.device_token(device, issued.secret)).json()["access_token"]
    return token


def own_key(world: World) -> SigningKey:
    store = open_store(world.settings.database)
    key = SigningKey.from_pem(store.keys.all()[0].private_key)
    store.close()
    return key


def claims(world: World, **changes: Any) -> dict[str, Any]:
    now = int(world.clock.now)
    good = {
        "iss": ISSUER,
        "sub": "dev1",
        "client_id": "dev1",
        "aud": "mqtt",
        "iat": now,
        "exp": now + 60,
        "jti": "a",
        "scope": "mqtt.connect",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


async def test_of_a_good_token_all_is_told_that_rfc_9068_and_7662_name(
    world: World, asker: httpx.BasicAuth
) -> None:
    token = await enrolled(world)
    now = int(world.clock.now)
    answer = await ask(world, asker, token)
    assert answer.pop("jti") == world.events[-1].token_id
    assert answer == {
        "active": True,
        "iss": ISSUER,
        "sub": "dev1",
        "client_id": "dev1",
        "aud": "mqtt",
        "scope": "mqtt.connect mqtt.publish:a/dev1",
        "exp": now + 3600,
        "iat": now,
        "token_type": "Bearer",
    }


async def test_what_binds_a_token_and_what_it_allows_in_detail_is_told_and_nothing_else(
    world: World, asker: httpx.BasicAuth
) -> None:
    world.register.add_device("dev1")
    details = [{"type": "mqtt", "actions": ["publish"]}]
    more = {"cnf": {"x5t#S256": "x"}, "authorization_details": details, "act": {"sub": "gw"}}
    answer = await ask(world, asker, own_key(world).sign(claims(world, **more, private="p")))
    assert {name: answer[name] for name in more} == more
    assert (answer["token_type"], "private" in answer) == ("Bearer", False)
    bound = own_key(world).sign(claims(world, cnf={"jkt": "x"}))
    assert (await ask(world, asker, bound))["token_type"] == "DPoP"


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense", ""])
async def test_a_hint_is_no_more_than_that(world: World, asker: httpx.BasicAuth, hint: str) -> None:
    token = await enrolled(world)
    assert (await ask(world, asker, token, token_type_hint=hint))["active"] is True


async def test_a_token_that_ended_is_inactive_and_nothing_more_is_told(
    world: World, asker: httpx.BasicAuth
) -> None:
    token = await enrolled(world, lifetime=60)
    world.clock.now += 59
    assert (await ask(world, asker, token))["active"] is True
    world.clock.now += 1
    assert await ask(world, asker, token) == INACTIVE


async def test_tokens_of_a_disabled_or_removed_device_stay_inactive_for_good(
    world: World, asker: httpx.BasicAuth
) -> None:
    disabled, removed, kept = [await enrolled(world, name) for name in ("dev1", "dev2", "dev3")]
    world.register.disable_device("dev1")
    world.register.remove_device("dev2")
    assert await ask(world, asker, disabled) == INACTIVE
    assert await ask(world, asker, removed) == INACTIVE
    world.register.enable_device("dev1")
    world.register.add_device("dev2")
    assert await ask(world, asker, disabled) == INACTIVE
    assert await ask(world, asker, removed) == INACTIVE
    assert (await ask(world, asker, kept))["active"] is True


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"sub": "nobody"},
        {"sub": "app1"},
        {"sub": None},
        {"client_id": None},
        {"exp": 1},
        {"exp": None},
        {"iat": None},
        {"iat": 2**40},
        {"jti": None},
        {"events": {}},
    ],
)
async def test_claims_that_are_not_a_good_tokens_of_ours_are_inactive(
    world: World, asker: httpx.BasicAuth, changes: dict[str, Any]
) -> None:
    world.register.add_device("dev1")
    world.register.add_application("app1")
    assert (await ask(world, asker, own_key(world).sign(claims(world))))["active"] is True
    assert await ask(world, asker, own_key(world).sign(claims(world, **changes))) == INACTIVE


async def test_what_others_signed_or_nobody_is_inactive(
    world: World, asker: httpx.BasicAuth
) -> None:
    token = await enrolled(world)
    head, body, signature = token.split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "at+jwt"}).encode()).decode()
    for wrong in (
        SigningKey.generate("ES256").sign(claims(world)),
        own_key(world).sign(claims(world), typ="JWT"),
        f"{none.rstrip('=')}.{body}.",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-2]}AA",
        f"{token}.x",
        token[:-1],
        "x",
        "x" * 60_000,
        "\u00fc\x00",
    ):
        assert await ask(world, asker, wrong) == INACTIVE


async def test_only_who_is_registered_for_it_may_ask(world: World, asker: httpx.BasicAuth) -> None:
    token = await enrolled(world)
    device = world.register.add_device("dev2")
    application = world.register.add_application("app1")
    guard = world.register.ensure_guard_client("guard")
    world.events.clear()
    for name, secret, status in (
        ("asker", "kfs_wrong", 401),
        ("nobody", "kfs_wrong", 401),
        ("dev2", device.secret, 403),
        ("app1", application.secret or "", 403),
        ("guard", guard, 403),
    ):
        answer = await world.http.post(
            "/oauth2/introspect", data={"token": token}, auth=httpx.BasicAuth(name, secret)
        )
        assert answer.status_code == status
        assert ("www-authenticate" in answer.headers) == (status == 401)
        assert "active" not in answer.json()
    answer = await world.http.post("/oauth2/introspect", data={"token": token})
    assert answer.status_code == 401
    assert [(each.client_id, each.reason) for each in world.events] == [
        ("asker", "secret_wrong"),
        ("nobody", "client_unknown"),
        ("dev2", "not_for_introspection"),
        ("app1", "not_for_introspection"),
        ("guard", "not_for_introspection"),
        ("", "credentials_missing"),
    ]
    told = {(each.request, each.outcome) for each in world.events}
    assert told == {("introspection", "refused")}
    assert token not in repr(world.events)
    world.register.remove_service("asker")
    answer = await world.http.post("/oauth2/introspect", data={"token": token}, auth=asker)
    assert answer.status_code == 401


async def test_a_secret_in_the_form_is_as_good(world: World) -> None:
    _, secret = world.register.add_service("asker", scopes=["keyfob.introspection"])
    form = {"token": await enrolled(world), "client_id": "asker", "client_secret": secret}
    answer = await world.http.post("/oauth2/introspect", data=form)
    assert answer.json()["active"] is True


async def test_a_question_that_is_none_is_an_invalid_request(
    world: World, asker: httpx.BasicAuth
) -> None:
    post = world.http.post
    assert (await post("/oauth2/introspect", data={"x": "y"}, auth=asker)).status_code == 400
    assert (await post("/oauth2/introspect?token=x", data={}, auth=asker)).status_code == 400
    assert (await post("/oauth2/introspect", json={"token": "x"}, auth=asker)).status_code == 400
    twice = await post(
        "/oauth2/introspect",
        content="token=x&token=y",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        auth=asker,
    )
    assert twice.json()["error"] == "invalid_request"
    assert (await world.http.get("/oauth2/introspect", auth=asker)).status_code == 405


class _Keys:
    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def key_set(self, _: float) -> KeySet:
        return self._keys

    async def refresh(self) -> None:
        pass

    def is_unreadable(self, kid: str | None) -> bool:
        assert kid != ""
        return False


class _NoStore:
    """A register that says yes to everything, so that the token alone decides."""

    async def is_token_good(self, **_: object) -> bool:
        return True

    async def revoke_token(self, **_: object) -> bool:
        raise AssertionError


KEY = SigningKey.generate("ES256")
GOOD = KEY.sign(
    {
        "iss": ISSUER,
        "sub": "dev1",
        "client_id": "dev1",
        "aud": "mqtt",
        "iat": 1_000,
        "exp": 2_000,
        "jti": "a",
    }
)


@given(
    st.one_of(
        st.text(max_size=200),
        st.tuples(st.integers(0, len(GOOD) - 1), st.characters(codec="utf-8")),
    )
)
async def test_whatever_is_shown_is_a_good_token_or_none_and_never_an_error(
    tmp_path_factory: pytest.TempPathFactory, shown: str | tuple[int, str]
) -> None:
    settings = ServerSettings(
        issuer=ISSUER, audience="mqtt", database=tmp_path_factory.getbasetemp() / "no.db"
    )
    keys = KeySet.from_jwks({"keys": [KEY.public_jwk()]})
    lookup = SignedAccessTokens(settings, _Keys(keys), _NoStore())
    if isinstance(shown, tuple):  # a good token with one character changed
        place, character = shown
        shown = GOOD[:place] + character + GOOD[place + 1 :]
    try:
        found = await lookup.find(shown, 1_500.0)
    except OtherTokenTypeError:
        found = None
    assert (found is not None) == (shown == GOOD)


@pytest.mark.sqlite
def test_no_question_to_the_register_walks_through_the_revocations(database: Path) -> None:
    """However many tokens were revoked: as the queries are, not as somebody remembers them."""
    asked: list[str] = []
    store = open_store(database)
    connection = store.connection
    assert isinstance(connection, sqlite3.Connection)
    connection.set_trace_callback(asked.append)
    family = Family(
        family_id=b"f",
        client_id="app",
        subject="dev1",
        scopes=(),
        key=b"k",
        counter=0,
        digest=b"d",
        previous=None,
        rotated_at=0.0,
        expires_at=1.0,
        ends_at=1.0,
    )
    store.client("dev1")
    store.is_token_revoked(subject="dev1", token_id="t", issued_at=1)
    store.count_revoked_tokens("dev1", now=1.0)
    store.revocations_after(0, now=1.0, limit=1)
    with store.transaction():
        _add(store.connection, family, {"issued_at": 1, "secret_hash": None})
    connection.set_trace_callback(None)
    statements = [text for text in asked if "FROM revocation" in text]
    assert len(statements) >= 5
    for text in statements:
        plan = store.connection.execute("EXPLAIN QUERY PLAN " + text).fetchall()
        assert not [row[3] for row in plan if "SCAN revocation" in row[3]], text
    store.close()

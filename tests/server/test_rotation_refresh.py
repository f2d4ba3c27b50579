# SPDX-License-Identifier: Apache-2.0
"""A login ends with the secret that it was proven by: refresh tokens while two secrets work."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from keyfob.errors import UpstreamError
from keyfob.server.clients import ClientKind, StoredSecret
from keyfob.server.lifetimes import RefreshLifetimes
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.rotation import note_use
from keyfob.server.stores.schema import bring, migrations
from keyfob.server.stores.sqlite import SqliteSchema
from keyfob.server.stores.store import open_store
from tests.server.refreshing import Login, log_in, login
from tests.server.world import World

pytestmark = pytest.mark.anyio


async def begun_with(one: Login, secret: str) -> str:
    """Log in with a secret, and return the refresh token."""
    answer = await log_in(one.world, one.application, one.secret, one.device, secret)
    assert answer.status_code == 200, answer.json()
    return str(answer.json()["refresh_token"])


async def lives(one: Login, token: str) -> bool:
    answer = await one.refresh(token)
    assert answer.status_code in (200, 400)
    return answer.status_code == 200


async def test_without_an_overlap_every_login_ends_at_once(world: World) -> None:
    one = await login(world)
    world.register.rotate_secret("dev1")
    assert not await lives(one, one.refresh_token)


async def test_with_an_overlap_logins_live_as_long_as_the_secret_they_were_proven_by(
    world: World,
) -> None:
    one = await login(world)
    new = world.register.rotate_secret("dev1", overlap=1_000).secret
    by_old, by_new = await begun_with(one, one.device_secret), await begun_with(one, new)
    tokens = [one.refresh_token, by_old, by_new]
    world.clock.now += 999
    tokens = [await one.renewed(token) for token in tokens]
    world.clock.now += 2
    assert [await lives(one, token) for token in tokens] == [False, False, True]
    total = RefreshLifetimes().total
    assert world.clock.now + 100_000 < total + 1_800_000_000  # which is not why the two ended


async def test_an_overlap_lengthens_no_login(world: World) -> None:
    one = await login(world)
    world.clock.now += RefreshLifetimes().idle - 10
    world.register.rotate_secret("dev1", overlap=1_000)
    world.clock.now += 11
    assert not await lives(one, one.refresh_token)


async def test_where_the_first_use_of_the_new_secret_ends_the_old_one_it_ends_its_logins(
    world: World,
) -> None:
    one = await login(world)
    new = world.register.rotate_secret("dev1", overlap=1_000, until_used=True).secret
    by_old = await begun_with(one, one.device_secret)
    tokens = [await one.renewed(one.refresh_token), await one.renewed(by_old)]
    by_new = await begun_with(one, new)
    assert [await lives(one, token) for token in (*tokens, by_new)] == [False, False, True]


async def test_a_second_rotation_ends_what_was_got_with_the_secret_before(world: World) -> None:
    one = await login(world)
    second = world.register.rotate_secret("dev1", overlap=1_000).secret
    by_second = await begun_with(one, second)
    world.register.rotate_secret("dev1", overlap=1_000)
    assert [await lives(one, token) for token in (one.refresh_token, by_second)] == [False, True]


async def test_a_secret_that_is_replaced_while_it_is_proven_begins_no_login_unless_it_overlaps(
    world: World,
) -> None:
    one = await login(world)

    def rotate(overlap: int) -> None:
        world.on_verify = None
        world.register.rotate_secret("dev1", overlap=overlap)

    world.on_verify = lambda: rotate(0)
    refused = await one.again()
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    secret = world.register.rotate_secret("dev1").secret
    world.on_verify = lambda: rotate(1_000)
    assert await lives(one, await begun_with(one, secret))


async def test_a_use_that_cannot_be_written_down_is_no_use() -> None:
    class Broken:
        async def end_old_secret(self, client_id: str, secret_hash: str) -> None:  # noqa: ARG002
            raise UpstreamError("the disk is full")

    stored = StoredSecret(
        kind=ClientKind.DEVICE, secret_hash="new", old_hash="old", old_ends_on_use=True
    )
    with pytest.raises(OAuthError) as caught:
        await note_use(Broken(), "dev1", stored, "new")
    assert caught.value.error == "temporarily_unavailable"
    assert not {"new", "old"} & set(re.findall(r"\w+", repr(stored)))
    await note_use(Broken(), "dev1", stored, "old")  # which changes nothing


@pytest.mark.sqlite  # PostgreSQL has had both from the start
def test_logins_from_before_two_secrets_could_work_are_of_the_one_that_was(
    database: Path,
) -> None:
    connection = sqlite3.connect(database, isolation_level=None)
    bring(SqliteSchema(connection), known=migrations()[:7])
    connection.execute(
        "INSERT INTO client (client_id, kind, secret_hash, grants, scopes, created_at)"
        " VALUES ('dev1', 'device', 'its hash', '', '', 1)"
    )
    connection.execute(
        "INSERT INTO refresh_family (family_id, client_id, subject, scopes, family_key, counter,"
        " digest, rotated_at, expires_at, ends_at)"
        " VALUES (X'01', 'gateway', 'dev1', '', X'02', 0, X'03', 1, 2, 3)"
    )
    connection.close()
    database.chmod(0o600)
    store = open_store(database)
    found = store.connection.execute("SELECT secret_hash FROM refresh_family").fetchall()
    assert found == [("its hash",)]
    client = store.client("dev1")
    assert client is not None
    assert (client.groups, client.pending, client.old_hash) == ((), False, None)
    store.close()

# SPDX-License-Identifier: Apache-2.0
"""Tokens through rotations: two servers on one database, verifiers that cache as HTTP lets them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from starlette.applications import Starlette

from keyfob.server.app import create_app
from keyfob.server.lifetimes import LONGEST_LIFE, MAX_LIFETIME
from keyfob.server.register import Register
from keyfob.server.settings import ServerSettings
from keyfob.server.signing.events import KeyEvent
from keyfob.server.signing.key_register import KeyRegister
from keyfob.server.signing.settings import SigningSettings
from keyfob.server.signing.timetable import JWKS_MAX_AGE, Rotation
from keyfob.server.stores.store import open_store
from keyfob.server.wishes import DeviceWish
from tests.server.world import ISSUER, Clock

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:EdDSA is deprecated"),  # by RFC 9864, which few know yet
]
ALGORITHMS = ["ES256", "EdDSA", "RS256"]


@dataclass
class Server:
    """One process of the server, as far as keys go."""

    app: Starlette
    http: httpx.AsyncClient
    events: list[KeyEvent]

    async def look(self) -> None:
        await self.app.state.keyring.refresh()

    async def kids(self) -> list[str]:
        document = (await self.http.get("/oauth2/jwks")).json()
        return [key["kid"] for key in document["keys"]]


@dataclass
class Verifier:
    """Somebody who holds the key set for as long as its headers allow, and never asks earlier."""

    clock: Clock
    offset: float
    keys: dict[str, Any] = field(default_factory=dict)
    until: float = 0.0

    async def verify(self, token: str, server: Server) -> str:
        if self.clock.now >= self.until:
            answer = await server.http.get("/oauth2/jwks")
            assert answer.headers["cache-control"] == f"public, max-age={JWKS_MAX_AGE}"
            self.keys = answer.json()
            self.until = self.clock.now + JWKS_MAX_AGE - self.offset
        decoded = jwt.decode(token, KeySet.import_key_set(self.keys), algorithms=ALGORITHMS)  # type: ignore[arg-type]
        assert decoded.claims["sub"] == "dev1"
        return str(decoded.header["kid"])


def with_rotation(settings: ServerSettings, **rotation: Any) -> ServerSettings:
    return replace(settings, signing=SigningSettings(rotation=Rotation(**rotation)))


@contextlib.asynccontextmanager
async def serving(settings: ServerSettings, clock: Clock) -> AsyncIterator[Server]:
    events: list[KeyEvent] = []
    app = create_app(settings, clock=clock, sleep=clock.sleep, key_audit=events.append)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=ISSUER) as http,
    ):
        yield Server(app, http, events)


@pytest.fixture
def fetch(register: Register) -> Callable[[Server], Any]:
    secret = register.add_device(DeviceWish("dev1", lifetime=MAX_LIFETIME)).secret

    async def token(server: Server) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": "dev1",
            "client_secret": secret,
        }
        answer = await server.http.post("/oauth2/token", data=form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    return token


def keys_of(database: Path, settings: ServerSettings, clock: Clock) -> KeyRegister:
    return KeyRegister(open_store(database), settings.signing, clock=clock)


async def test_no_token_fails_through_scheduled_rotations_of_two_servers(
    settings: ServerSettings, clock: Clock, fetch: Callable[[Server], Any]
) -> None:
    """Five rotations; every token is shown to every verifier until it ends."""
    settings = with_rotation(settings, every_days=1)
    async with serving(settings, clock) as one, serving(settings, clock) as two:
        servers = (one, two)
        verifiers = [Verifier(clock, offset) for offset in (0.0, 37.0, 151.0)]
        tokens: list[tuple[float, str]] = []
        signers: list[str] = []
        start, round_ = clock.now, 0
        while clock.now < start + 5.2 * 86_400:
            began, round_ = clock.now, round_ + 1
            of_day = (began - start) % 86_400
            near = of_day > 86_400 - 3_500 or of_day < 900  # where rotations are
            for place, server in enumerate(servers):
                if not near or (round_ + place) % 3:  # each misses a look sometimes
                    await server.look()
                token = await fetch(server)
                tokens.append((clock.now + MAX_LIFETIME, token))
                for verifier in verifiers:
                    kid = await verifier.verify(token, servers[1 - place])
                    if kid not in signers:
                        signers.append(kid)
            tokens = [each for each in tokens if each[0] > clock.now][-40:] + tokens[:20]
            for ends, token in tokens[::9]:
                if ends > clock.now:
                    await verifiers[0].verify(token, one)
            clock.now = began + (50 if near else 3_000)
        assert len(signers) == 6
        assert [event.what for event in one.events].count("signing") == 5
        assert len(await one.kids()) <= 3  # those that nobody needs are gone


async def test_both_servers_change_in_the_same_moment_without_a_look(
    settings: ServerSettings, clock: Clock, fetch: Callable[[Server], Any], database: Path
) -> None:
    async with serving(settings, clock) as one, serving(settings, clock) as two:
        (old,) = await one.kids()
        with keys_of(database, settings, clock) as keys:
            new = keys.rotate()
        for server in (one, two):
            await server.look()
            assert await server.kids() == [old, new.kid]
        for now, expected in ((new.signs_from - 1, old), (new.signs_from + 1, new.kid)):
            clock.now = now
            for server in (one, two):
                assert await Verifier(clock, 0).verify(await fetch(server), server) == expected


async def test_the_old_key_is_published_until_its_last_token_has_ended_and_then_forgotten(
    settings: ServerSettings, clock: Clock, database: Path
) -> None:
    async with serving(settings, clock) as server:
        (old,) = await server.kids()
        with keys_of(database, settings, clock) as keys:
            new = keys.rotate()
            clock.now = new.signs_from + LONGEST_LIFE - 1
            await server.look()
            assert await server.kids() == [new.kid, old]
            clock.now += 2
            assert await server.kids() == [new.kid]
            await server.look()
            assert [key.kid for key in keys.list_keys()] == [new.kid]
    assert [event.what for event in server.events] == ["published", "signing", "forgotten"]


async def test_in_an_emergency_the_new_key_signs_at_once_and_the_old_can_be_ended(
    settings: ServerSettings, clock: Clock, fetch: Callable[[Server], Any], database: Path
) -> None:
    async with serving(settings, clock) as server:
        (old,) = await server.kids()
        clock.now += 10
        with keys_of(database, settings, clock) as keys:
            announced = keys.rotate()
            await server.look()
            clock.now += 10
            new = keys.rotate(at_once=True)
            await server.look()
            assert await server.kids() == [new.kid, old]
            clock.now += 1
            assert await Verifier(clock, 0).verify(await fetch(server), server) == new.kid
            keys.remove(old)
            await server.look()
            assert await server.kids() == [new.kid]
    told = [(event.what, event.kid) for event in server.events]
    assert told == [
        ("published", announced.kid),
        ("published", new.kid),
        ("signing", new.kid),
        ("withdrawn", announced.kid),
        ("withdrawn", old),
    ]


async def test_a_key_that_signs_at_once_does_so_also_within_the_second(
    settings: ServerSettings, clock: Clock, fetch: Callable[[Server], Any], database: Path
) -> None:
    """Although ``iat`` is the whole second before it was made."""
    clock.now = float(int(clock.now)) + 0.25
    async with serving(settings, clock) as server:
        clock.now += 10.25
        with keys_of(database, settings, clock) as keys:
            new = keys.rotate(at_once=True)
        await server.look()
        clock.now += 0.25
        assert await Verifier(clock, 0).verify(await fetch(server), server) == new.kid


async def test_another_algorithm_is_announced_like_any_rotation(
    settings: ServerSettings, clock: Clock, fetch: Callable[[Server], Any]
) -> None:
    kids = set()
    for algorithm in ("ES256", "EdDSA", "RS256"):
        changed = with_rotation(settings, algorithm=algorithm)
        async with serving(changed, clock) as server:
            verifier = Verifier(clock, 0)
            for _ in range(6):
                token = await fetch(server)
                kids.add(await verifier.verify(token, server))
                clock.now += 150
            header = jwt.decode(
                await fetch(server),
                KeySet.import_key_set((await server.http.get("/oauth2/jwks")).json()),
                algorithms=[algorithm],
            ).header
            assert header["alg"] == algorithm
        clock.now += 10
    assert len(kids) == 3


async def test_a_mistaken_algorithm_that_is_corrected_in_time_never_signs(
    settings: ServerSettings, clock: Clock
) -> None:
    async with serving(settings, clock) as server:
        before = await server.kids()
    async with serving(with_rotation(settings, algorithm="EdDSA"), clock) as server:
        assert len(await server.kids()) == 2
        assert [event.what for event in server.events] == ["published"]
    async with serving(settings, clock) as server:
        assert await server.kids() == before
        clock.now += 10_000
        assert await server.kids() == before


async def test_servers_that_rotate_at_once_make_one_key(
    settings: ServerSettings, clock: Clock, database: Path
) -> None:
    settings = with_rotation(settings, every_days=1)
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(serving(settings, clock)) for _ in range(4)]
        clock.now += 86_400
        for server in servers:
            await server.look()
        seen = [await server.kids() for server in servers]
        assert all(kids == seen[0] for kids in seen)
        assert len(seen[0]) == 2


async def test_an_emptied_table_gets_a_key_again_and_no_request_fails(
    settings: ServerSettings, clock: Clock, fetch: Callable[[Server], Any], database: Path
) -> None:
    async with serving(settings, clock) as server:
        store = open_store(database)
        with store.transaction():
            store._connection.execute("DELETE FROM signing_key")
        store.close()
        await fetch(server)
        await server.look()
        await Verifier(clock, 0).verify(await fetch(server), server)

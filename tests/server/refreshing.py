# SPDX-License-Identifier: Apache-2.0
"""Logging in and refreshing, for the tests of refresh tokens."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import httpx

from keyfob.server.signing.key_register import KeyRegister
from keyfob.server.signing.sealing import KeySealer
from keyfob.server.signing.settings import SigningSettings
from keyfob.server.stores.place import Place
from keyfob.server.stores.store import open_store
from keyfob.server.wishes import ApplicationWish, DeviceWish, Rights
from tests.server.databases import rows
from tests.server.world import World


@dataclass(frozen=True)
class Login:
    """A device that is logged in through an application."""

    world: World
    device: str
    device_secret: str
    application: str
    secret: str
    refresh_token: str

    async def refresh(self, token: str, **more: str) -> httpx.Response:
        """Use a refresh token as the application."""
        return await refresh(self.world, self.application, self.secret, token, **more)

    async def renewed(self, token: str) -> str:
        """Use a refresh token that is good, and return its successor."""
        answer = await self.refresh(token)
        assert answer.status_code == 200, answer.json()
        return str(answer.json()["refresh_token"])

    async def again(self, **more: str) -> httpx.Response:
        """Log in once more."""
        return await log_in(
            self.world, self.application, self.secret, self.device, self.device_secret, **more
        )


async def refresh(
    world: World, application: str, secret: str, token: str, **more: str
) -> httpx.Response:
    form = {"grant_type": "refresh_token", "refresh_token": token, **more}
    return await ask(world, application, secret, form)


async def log_in(
    world: World, application: str, secret: str, device: str, device_secret: str, **more: str
) -> httpx.Response:
    form = {"grant_type": "password", "username": device, "password": device_secret, **more}
    return await ask(world, application, secret, form)


async def ask(world: World, application: str, secret: str, form: dict[str, str]) -> httpx.Response:
    """Ask for a token as an application; a public one has no secret."""
    if not secret:
        return await world.http.post("/oauth2/token", data={"client_id": application, **form})
    auth = httpx.BasicAuth(application, secret)
    return await world.http.post("/oauth2/token", data=form, auth=auth)


async def login(
    world: World, *, device: str = "dev1", application: str = "gateway", public: bool = False
) -> Login:
    """Register a device and an application, and log in."""
    registered = world.register.add_application(
        ApplicationWish(application, public=public, refresh=True)
    )
    secret = registered.secret or ""
    issued = world.register.add_device(
        DeviceWish(device, rights=Rights(publish=["{device}/#"], scopes=["billing"]))
    )
    answer = await log_in(world, application, secret, device, issued.secret)
    assert answer.status_code == 200, answer.json()
    token = answer.json()["refresh_token"]
    return Login(world, device, issued.secret, application, secret, token)


async def rotate_beyond_reach(world: World) -> None:
    """Let a key sign that this process cannot decrypt, as another one might."""
    world.clock.now += 1
    sealed = SigningSettings(sealer=KeySealer(secrets.token_hex(32)))
    with KeyRegister(open_store(world.settings.database), sealed, clock=world.clock) as keys:
        keys.rotate(at_once=True)
    await world.keyring.refresh()


def families(database: Place) -> list[tuple[str, str]]:
    """Return subject and end of every family that is kept."""
    return rows(database, "SELECT subject, ended FROM refresh_family ORDER BY 1")

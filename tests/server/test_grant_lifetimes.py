# SPDX-License-Identifier: Apache-2.0
"""How long tokens live: the device, its groups and the server say it, each grant has a ceiling."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from keyfob.cli.server_settings import server_settings
from keyfob.config import load
from keyfob.errors import ConfigError
from keyfob.server.app import create_app
from keyfob.server.register import Register
from keyfob.server.settings import ServerSettings
from keyfob.server.wishes import ApplicationWish, DeviceWish
from tests.server.world import ISSUER

pytestmark = pytest.mark.anyio


async def expires_in(settings: ServerSettings, register: Register, lifetime: int | None) -> int:
    """Ask for a token by password, and return how long it lives."""
    register.add_application(ApplicationWish("app", public=True))
    secret = register.add_device(DeviceWish("dev1", lifetime=lifetime)).secret
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ISSUER) as http,
    ):
        form = {"grant_type": "password", "client_id": "app"}
        form |= {"username": "dev1", "password": secret}
        answer = await http.post("/oauth2/token", data=form)
        form = {"grant_type": "client_credentials", "client_id": "dev1", "client_secret": secret}
        other = await http.post("/oauth2/token", data=form)
    assert other.json()["expires_in"] == (lifetime or 3600)
    return int(answer.json()["expires_in"])


@pytest.mark.parametrize(
    ("ceiling", "lifetime", "expected"),
    [(300, None, 300), (300, 60, 60), (300, 900, 300), (7200, None, 3600), (None, 900, 900)],
)
async def test_a_token_lives_as_long_as_the_strictest_says(
    database: Path,
    register: Register,
    ceiling: int | None,
    lifetime: int | None,
    expected: int,
) -> None:
    ceilings = {} if ceiling is None else {"password": ceiling}
    settings = ServerSettings(
        issuer=ISSUER, audience="mqtt", database=database, limits=None, grant_lifetimes=ceilings
    )
    assert await expires_in(settings, register, lifetime) == expected


@pytest.mark.parametrize("seconds", [-1, 0, 86_401])
def test_a_ceiling_has_bounds(database: Path, seconds: int) -> None:
    with pytest.raises(ConfigError):
        ServerSettings(
            issuer=ISSUER,
            audience="mqtt",
            database=database,
            grant_lifetimes={"password": seconds},
        )


def test_the_file_names_grants_by_one_word(tmp_path: Path) -> None:
    file = tmp_path / "keyfob.toml"
    file.write_text("[server.grant_lifetimes]\npassword = 60\njwt_bearer = 70\n")
    assert server_settings(load(file)).grant_lifetimes == {
        "password": 60,
        "urn:ietf:params:oauth:grant-type:jwt-bearer": 70,
    }
    file.write_text("[server.grant_lifetimes]\npassword = 86401\n")
    with pytest.raises(ConfigError, match="password"):
        load(file)

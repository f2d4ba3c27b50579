# SPDX-License-Identifier: Apache-2.0
"""What a client can find out about the server (RFC 8414), its keys and its health."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from keyfob.errors import ConfigError
from keyfob.server.app import create_app
from keyfob.server.lifetimes import RefreshLifetimes
from keyfob.server.settings import ServerSettings
from keyfob.server.wishes import ApplicationWish
from tests.server.world import ISSUER, World

pytestmark = [pytest.mark.anyio, pytest.mark.sqlite]

METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
ALGORITHMS = ["ES256", "RS256", "PS256", "Ed25519", "EdDSA"]

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
OAUTH = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"


@pytest.mark.parametrize("path", [OAUTH, OPENID])
async def test_the_metadata_names_what_there_is(world: World, path: str) -> None:
    answer = await world.http.get(path)
    assert answer.headers["content-type"] == "application/json"
    assert "max-age" in answer.headers["cache-control"]
    assert answer.json() == {
        "issuer": ISSUER,
        "token_endpoint": ISSUER + "/oauth2/token",
        "jwks_uri": ISSUER + "/oauth2/jwks",
        "scopes_supported": ["mqtt.connect"],
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials", TOKEN_EXCHANGE],
        "authorization_details_types_supported": ["mqtt"],
        "token_endpoint_auth_methods_supported": METHODS,
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "introspection_endpoint": ISSUER + "/oauth2/introspect",
        "introspection_endpoint_auth_methods_supported": METHODS[:2],
        "registration_endpoint": ISSUER + "/oauth2/register",
        "revocation_endpoint": ISSUER + "/oauth2/revoke",
        "revocation_endpoint_auth_methods_supported": METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "dpop_signing_alg_values_supported": ALGORITHMS,
    }


async def test_the_grants_of_applications_are_named_once_there_is_one(world: World) -> None:
    world.register.add_application(ApplicationWish("gateway", public=True))
    document = (await world.http.get(OAUTH)).json()
    assert document["grant_types_supported"] == [
        "client_credentials",
        "password",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
        TOKEN_EXCHANGE,
    ]
    assert document["token_endpoint_auth_methods_supported"][-1] == "none"
    assert document["revocation_endpoint_auth_methods_supported"][-1] == "none"
    assert "none" not in document["introspection_endpoint_auth_methods_supported"]
    world.register.remove_application("gateway")
    document = (await world.http.get(OAUTH)).json()
    assert document["grant_types_supported"] == ["client_credentials", TOKEN_EXCHANGE]


@pytest.mark.parametrize(
    ("issuer", "paths"),
    [
        (
            "https://as.example/tenant/one",
            [OAUTH + "/tenant/one", OPENID + "/tenant/one", "/tenant/one" + OPENID],
        ),
        ("https://as.example/tenant/", [OAUTH + "/tenant", OPENID + "/tenant", "/tenant" + OPENID]),
        ("https://as.example/", [OAUTH, OPENID]),
    ],
)
async def test_an_issuer_with_a_path_is_found_where_rfc_8414_says(
    database: Path, issuer: str, paths: list[str]
) -> None:
    """The well-known part goes between host and path, and a closing slash is left out there."""
    app = create_app(ServerSettings(issuer=issuer, audience="mqtt", database=database))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://as.example") as http,
    ):
        for path in paths:
            document = (await http.get(path)).json()
            assert document["issuer"] == issuer
            assert document["token_endpoint"] == issuer.rstrip("/") + "/oauth2/token"
            assert (await http.get(document["jwks_uri"])).status_code == 200
            for name in ("token_endpoint", "introspection_endpoint", "revocation_endpoint"):
                assert (await http.get(document[name])).status_code == 405
        revocations = issuer.rstrip("/") + "/oauth2/revocations"
        assert (await http.get(revocations)).status_code == 401
        if len(paths) == 3:
            assert (await http.get(OAUTH)).status_code == 404


async def test_the_key_set_shows_public_halves_only_and_may_be_cached(world: World) -> None:
    answer = await world.http.get("/oauth2/jwks")
    assert "max-age" in answer.headers["cache-control"]
    (key,) = answer.json()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "use", "alg", "kid"}
    assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")


async def test_health_says_ok_and_nothing_else(world: World) -> None:
    answer = await world.http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["cache-control"] == "no-store"


async def test_there_is_nothing_else(world: World) -> None:
    for path in ("/", "/oauth2", "/oauth2/token/x", "/docs", "/metrics"):
        answer = await world.http.get(path)
        assert (answer.status_code, answer.json()["error"]) == (404, "invalid_request")
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "issuer",
    [
        "",
        "as.example",
        "ftp://as.example",
        "http://as.example",
        "https://",
        "https://as.example?x=1",
        "https://as.example?",
        "https://as.example#x",
        "https://user:password@as.example",
        "https://as.example/a//b",
        "https://as.example/a%2fb",
        "https://as.example/{x}",
        "https://as.example/../a",
        "https://as.example/a b",
        "https://bücher.example",
    ],
)
async def test_an_issuer_that_is_no_issuer_is_refused(database: Path, issuer: str) -> None:
    with pytest.raises(ConfigError, match="issuer"):
        ServerSettings(issuer=issuer, audience="mqtt", database=database)


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:1", "http://localhost", "http://[::1]:1"])
async def test_http_is_for_the_loopback_address(database: Path, issuer: str) -> None:
    assert ServerSettings(issuer=issuer, audience="mqtt", database=database).base == issuer


@pytest.mark.parametrize("lifetime", [0, -1, 86_401])
async def test_a_default_lifetime_outside_the_bounds_is_refused(
    database: Path, lifetime: int
) -> None:
    with pytest.raises(ConfigError, match="lives between"):
        ServerSettings(issuer=ISSUER, audience="mqtt", database=database, default_lifetime=lifetime)


@pytest.mark.parametrize(("total", "idle"), [(0, 1), (1, 0), (31_536_001, 1), (1, 31_536_001)])
async def test_a_refresh_lifetime_outside_the_bounds_is_refused(total: int, idle: int) -> None:
    with pytest.raises(ConfigError, match="refresh token lives between"):
        RefreshLifetimes(total=total, idle=idle)


async def test_an_empty_audience_is_refused(database: Path) -> None:
    with pytest.raises(ConfigError, match="audience"):
        ServerSettings(issuer=ISSUER, audience="", database=database)

# SPDX-License-Identifier: Apache-2.0
"""Metadata is found where RFC 8414 and OpenID Connect put it, and only an issuer's own counts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest

from keyfob.errors import ConfigError, UpstreamError
from keyfob.guard.discovery import (
    ENDPOINT_FRESH,
    LOOK_AGAIN,
    Endpoint,
    discover,
    discover_jwks_uri,
)
from keyfob.guard.fetching import Fetcher
from keyfob.oauth.metadata import metadata_urls
from tests.guard.world import Clock, HttpServer

pytestmark = pytest.mark.anyio

OAUTH = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"


def metadata(issuer: str, **changes: Any) -> bytes:
    return json.dumps({"issuer": issuer, "jwks_uri": f"{issuer}/jwks", **changes}).encode()


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        ("https://as.example", (f"https://as.example{OAUTH}", f"https://as.example{OPENID}")),
        ("https://as.example/", (f"https://as.example{OAUTH}", f"https://as.example{OPENID}")),
        (
            "https://as.example:8443/realms/x",
            (
                f"https://as.example:8443{OAUTH}/realms/x",
                f"https://as.example:8443/realms/x{OPENID}",
            ),
        ),
    ],
)
def test_rfc_8414_inserts_and_openid_appends(issuer: str, urls: tuple[str, str]) -> None:
    assert metadata_urls(issuer) == urls


@pytest.mark.parametrize("issuer", ["http://as.example", "https://as.example?x=1", "as.example"])
def test_an_issuer_that_may_not_be_fetched_is_the_operators_to_mend(issuer: str) -> None:
    with pytest.raises(ConfigError):
        metadata_urls(issuer)


async def test_the_oauth_metadata_names_the_keys(http: HttpServer) -> None:
    http.answer(OAUTH, metadata(http.url))
    async with Fetcher() as fetcher:
        assert await discover_jwks_uri(fetcher, http.url) == f"{http.url}/jwks"
    assert http.requests == [OAUTH]


@pytest.mark.parametrize("first", [None, b"<html>", b"[]"])
async def test_the_openid_metadata_stands_in(http: HttpServer, first: bytes | None) -> None:
    if first is not None:
        http.answer(OAUTH, first)
    http.answer(OPENID, metadata(http.url))
    async with Fetcher() as fetcher:
        assert await discover_jwks_uri(fetcher, http.url) == f"{http.url}/jwks"


@pytest.mark.parametrize("difference", ["/", "x", "?"])
async def test_metadata_of_another_issuer_is_refused_and_nothing_stands_in(
    http: HttpServer, difference: str
) -> None:
    """RFC 8414 section 3.3: the comparison is exact, and a mismatch is no missing document."""
    http.answer(OAUTH, metadata(http.url + difference))
    http.answer(OPENID, metadata(http.url))
    async with Fetcher() as fetcher:
        with pytest.raises(UpstreamError, match="another issuer"):
            await discover_jwks_uri(fetcher, http.url)


@pytest.mark.parametrize(
    "body",
    [
        b'{"issuer":"ISSUER"}',
        b'{"issuer":"ISSUER","jwks_uri":7}',
        b'{"issuer":"ISSUER","jwks_uri":"http://elsewhere.example/jwks"}',
        b'{"issuer":"ISSUER","jwks_uri":"file:///etc/passwd"}',
        b'{"jwks_uri":"https://as.example/jwks"}',
        b'{"issuer":"ISSUER","issuer":"ISSUER","jwks_uri":"https://as.example/jwks"}',
    ],
)
async def test_unusable_metadata_is_refused(http: HttpServer, body: bytes) -> None:
    http.answer(OAUTH, body.replace(b"ISSUER", http.url.encode()))
    async with Fetcher() as fetcher:
        with pytest.raises(UpstreamError):
            await discover_jwks_uri(fetcher, http.url)


@pytest.mark.attack("J20")
@pytest.mark.parametrize(
    "target", ["http://127.0.0.1/jwks", "https://localhost/jwks", "https://[::1]/jwks"]
)
async def test_an_issuer_elsewhere_cannot_steer_the_guard_to_this_machine(target: str) -> None:
    issuer = "https://as.example"

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=metadata(issuer, jwks_uri=target))

    async with Fetcher(transport=httpx.MockTransport(answer)) as fetcher:
        with pytest.raises(UpstreamError, match="on this machine"):
            await discover_jwks_uri(fetcher, issuer)


async def test_an_issuer_may_keep_its_keys_at_another_host() -> None:
    issuer, target = "https://accounts.example", "https://www.example/certs"

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=metadata(issuer, jwks_uri=target))

    async with Fetcher(transport=httpx.MockTransport(answer)) as fetcher:
        assert await discover_jwks_uri(fetcher, issuer) == target


async def test_no_metadata_at_all_tells_of_the_first_place(http: HttpServer) -> None:
    async with Fetcher() as fetcher:
        with pytest.raises(UpstreamError, match=f"{OAUTH}: answered 404"):
            await discover_jwks_uri(fetcher, http.url)


async def test_an_endpoint_that_is_not_used_spoils_no_other(http: HttpServer) -> None:
    http.answer(OAUTH, metadata(http.url, introspection_endpoint="http://as.internal/introspect"))
    async with Fetcher() as fetcher:
        found = await discover(fetcher, http.url)
    assert found.address("jwks_uri") == f"{http.url}/jwks"
    for name in ("introspection_endpoint", "token_endpoint"):
        with pytest.raises(UpstreamError, match=name):
            found.address(name)


async def test_an_endpoint_is_looked_up_by_one_for_all_and_now_and_then(
    http: HttpServer, clock: Clock
) -> None:
    http.answer(OAUTH, metadata(http.url, introspection_endpoint=f"{http.url}/a"))
    endpoint = Endpoint(http.url, "introspection_endpoint", monotonic=clock)
    assert endpoint.shown == http.url
    async with Fetcher() as fetcher:
        found = await asyncio.gather(*(endpoint.address(fetcher) for _ in range(20)))
        assert set(found) == {endpoint.shown} == {f"{http.url}/a"}
        assert http.count(OAUTH) == 1
        http.answer(OAUTH, metadata(http.url, introspection_endpoint=f"{http.url}/b"))
        clock.now += ENDPOINT_FRESH
        assert await endpoint.address(fetcher) == f"{http.url}/b"


async def test_the_last_good_endpoint_stays_while_there_are_no_metadata(
    http: HttpServer, clock: Clock
) -> None:
    http.answer(OAUTH, metadata(http.url, introspection_endpoint=f"{http.url}/a"))
    endpoint = Endpoint(http.url, "introspection_endpoint", monotonic=clock)
    async with Fetcher() as fetcher:
        await endpoint.address(fetcher)
        clock.now += ENDPOINT_FRESH
        http.answer(OAUTH, b"", after=asyncio.Event())  # hangs
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await endpoint.address(fetcher)
        assert await endpoint.address(fetcher) == f"{http.url}/a"
        clock.now += LOOK_AGAIN
        http.answer(OAUTH, b"", status=503)
        assert await endpoint.address(fetcher) == f"{http.url}/a"
        http.answer(OAUTH, metadata(http.url, introspection_endpoint=f"{http.url}/b"))
        assert await endpoint.address(fetcher) == f"{http.url}/a"
        clock.now += LOOK_AGAIN
        assert await endpoint.address(fetcher) == f"{http.url}/b"


async def test_a_configured_endpoint_is_not_looked_up(http: HttpServer) -> None:
    endpoint = Endpoint(http.url, "introspection_endpoint", configured=f"{http.url}/c")
    async with Fetcher() as fetcher:
        assert await endpoint.address(fetcher) == endpoint.shown == f"{http.url}/c"
    assert http.requests == []


async def test_a_lookup_that_fails_is_made_again(http: HttpServer) -> None:
    endpoint = Endpoint(http.url, "introspection_endpoint")
    async with Fetcher() as fetcher:
        with pytest.raises(UpstreamError):
            await endpoint.address(fetcher)
        http.answer(OPENID, metadata(http.url, introspection_endpoint=f"{http.url}/a"))
        assert await endpoint.address(fetcher) == f"{http.url}/a"

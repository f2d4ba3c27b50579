# SPDX-License-Identifier: Apache-2.0
"""POSTs of one path pass the table of routes; everything else takes it."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from keyfob.errors import UpstreamError
from keyfob.server.app import create_app
from keyfob.server.endpoints.direct import Direct
from keyfob.server.settings import ServerSettings

pytestmark = pytest.mark.anyio

PATH = "/oauth2/token"


async def by_route(request: Request) -> Response:
    return PlainTextResponse(f"route {request.url.path}")


async def direct(request: Request) -> Response:
    return PlainTextResponse(f"direct {(await request.body()).decode()}")


async def unreachable(_: Request) -> Response:
    raise UpstreamError("the database is away")


async def failing(_: Request) -> Response:
    raise RuntimeError("a mistake of ours")


async def failed(_: Request, error: Exception) -> Response:
    return PlainTextResponse("failed", status_code=500)


def client(endpoint: Callable[[Request], Awaitable[Response]]) -> httpx.AsyncClient:
    app = Starlette(
        routes=[Route(PATH, by_route, methods=["POST"]), Route("/other", by_route)],
        exception_handlers={Exception: failed},
    )
    app.add_middleware(Direct, path=PATH, endpoint=endpoint)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="https://as.example")


async def test_a_post_of_the_path_goes_to_the_endpoint_with_its_body() -> None:
    async with client(direct) as http:
        assert (await http.post(PATH, content=b"body")).text == "direct body"
        assert (await http.post(PATH + "?a=b", content=b"")).text == "direct "


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/other", 200),
        ("GET", PATH, 405),
        ("PUT", PATH, 405),
        ("POST", PATH + "/more", 404),
        ("POST", "/OAUTH2/token", 404),
    ],
)
async def test_everything_else_takes_the_table_of_routes(
    method: str, path: str, status: int
) -> None:
    async with client(failing) as http:
        answer = await http.request(method, path)
    assert answer.status_code == status


async def test_a_register_that_is_away_is_worth_trying_again() -> None:
    async with client(unreachable) as http:
        answer = await http.post(PATH)
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")


async def test_a_mistake_of_ours_is_answered_as_everywhere() -> None:
    async with client(failing) as http:
        answer = await http.post(PATH)
    assert (answer.status_code, answer.text) == (500, "failed")


TOKEN = "/base/oauth2/token"
FORMS: list[dict[str, Any]] = [
    {},
    {"content": b"x" * 100_000, "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
    {"data": {"grant_type": "client_credentials"}},
    {"data": {"grant_type": "unknown"}},
    {"data": {"grant_type": "client_credentials", "client_id": "a", "client_secret": "b"}},
]
ASKED = [
    *itertools.product(["GET", "HEAD", "OPTIONS", "PUT"], [TOKEN], [{}]),
    *itertools.product(["POST"], [TOKEN, TOKEN + "?a=b", "/base/oauth2/%74oken"], FORMS),
    *itertools.product(["POST"], [TOKEN + "/", TOKEN + "%0A", "/base//oauth2/token"], FORMS[-1:]),
]


async def answers(tmp_path: Path, *, by_routes_alone: bool) -> list[tuple[object, ...]]:
    settings = ServerSettings(
        issuer="https://as.example/base", audience="mqtt", database=tmp_path / "register.db"
    )
    app = create_app(settings)
    if by_routes_alone:
        direct, *others = app.user_middleware
        assert repr(direct).startswith("Middleware(Direct")
        app.user_middleware = others
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="https://as.example") as http,
    ):
        got = [await http.request(method, path, **more) for method, path, more in ASKED]
    return [(one.status_code, sorted(one.headers.multi_items()), one.content) for one in got]


async def test_both_ways_to_the_token_endpoint_give_the_same_answers(tmp_path: Path) -> None:
    direct = await answers(tmp_path, by_routes_alone=False)
    assert direct == await answers(tmp_path, by_routes_alone=True)
    assert {status for status, *_ in direct} == {400, 401, 404, 405, 413}

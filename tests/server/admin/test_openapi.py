# SPDX-License-Identifier: Apache-2.0
"""The description says what the API does, all of it and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import schemathesis

from keyfob.server.admin.routes import OPERATIONS
from keyfob.server.admin_scopes import ADMIN_SCOPES
from tests.server.admin.asking import API, Admin
from tests.server.world import ISSUER, World

pytestmark = pytest.mark.anyio


async def document(world: World) -> Any:
    answer = await world.http.get(API + "/openapi.json")
    assert answer.status_code == 200
    return answer.json()


async def test_every_route_is_described_and_every_description_is_a_route(
    world: World, admin: Admin
) -> None:
    described = {
        (method, path) for path, item in (await document(world))["paths"].items() for method in item
    }
    assert described == {(one.method, one.path) for one in OPERATIONS}
    for method, path in described:
        answer = await admin(method, path.replace("{id}", "nothing"))
        assert answer.status_code not in (404, 405) or "{id}" in path, (method, path)
    names = [one.name for one in OPERATIONS]
    assert len(names) == len(set(names))


async def test_each_route_of_the_application_is_in_the_table(world: World) -> None:
    from keyfob.server.app import create_app

    app = create_app(world.settings)
    (mount,) = [one for one in app.routes if getattr(one, "path", "") == API]
    served = {
        (method.lower(), route.path)
        for route in mount.routes  # type: ignore[attr-defined]
        for method in route.methods - {"HEAD"}
    }
    described = {(one.method, one.path.replace("{id}", "{id:str}")) for one in OPERATIONS}
    assert served == described | {("get", "/openapi.json")}
    async with app.router.lifespan_context(app):
        pass


async def test_it_is_an_openapi_document(world: World) -> None:
    schemathesis.openapi.from_dict(await document(world)).validate()


async def test_it_says_where_tokens_come_from_and_which_scope_each_operation_needs(
    world: World,
) -> None:
    found = await document(world)
    assert found["servers"] == [{"url": ISSUER + API}]
    flow = found["components"]["securitySchemes"]["service"]["flows"]["clientCredentials"]
    assert flow["tokenUrl"] == ISSUER + "/oauth2/token"
    assert set(flow["scopes"]) == set(ADMIN_SCOPES)
    for item in found["paths"].values():
        for operation in item.values():
            ((scheme, scopes),) = operation["security"][0].items()
            assert (scheme, len(scopes)) == ("service", 1)


async def test_a_request_that_reads_has_the_scope_that_reads(world: World) -> None:
    for one in OPERATIONS:
        assert one.scope.endswith(":read") == (one.method == "get"), one.name


async def test_a_secret_is_in_no_answer_that_can_be_asked_for_again(world: World) -> None:
    found = await document(world)

    def members(schema: Any, seen: frozenset[str] = frozenset()) -> set[str]:
        if isinstance(schema, list):
            return set().union(*(members(one, seen) for one in schema))
        if not isinstance(schema, dict):
            return set()
        if name := schema.get("$ref", "").rpartition("/")[2]:
            inner = found["components"]["schemas"][name]
            return set() if name in seen else members(inner, seen | {name})
        own = set(schema.get("properties", {}))
        return own.union(*(members(one, seen) for one in schema.values()))

    for item in found["paths"].values():
        if "get" in item:
            content = item["get"]["responses"]["200"]["content"]
            (answer,) = (one["schema"] for one in content.values())
            assert members(answer).isdisjoint(
                {"client_secret", "token", "secret", "token_hash", "password", "credential", "ca"}
            )


async def test_the_documentation_has_every_operation_with_its_scope() -> None:
    told = re.findall(
        r"^\| `([A-Z]+) (/\S+)` \| `(\S+)` \| (.+) \|$",
        (Path(__file__).parents[3] / "docs/admin-api.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert told == [
        (one.method.upper(), one.path, one.scope.removeprefix("keyfob.admin."), one.summary)
        for one in OPERATIONS
    ]


async def test_nobody_needs_a_token_to_read_it_and_it_has_nothing_of_the_register(
    world: World,
) -> None:
    world.register.add_device("a-device")
    assert "a-device" not in (await world.http.get(API + "/openapi.json")).text

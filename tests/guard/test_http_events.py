# SPDX-License-Identifier: Apache-2.0
"""The endpoint that events are pushed to answers as RFC 8935 says, whatever is sent to it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.guard.http_app import guard_app
from keyfob.guard.http_events import MAX_BODY_BYTES
from keyfob.http.listen import Listen
from keyfob.http.serving import serving
from tests.guard.events_world import HEADERS, World, event_token, iss_sub, receiving
from tests.guard.world import NOW, OTHER_KEY, mint

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with receiving(tmp_path / "guard.db") as made:
        yield made


# What RFC 8935 section 2.4 and the IANA registry of it know.
CODES = {
    "invalid_request",
    "invalid_key",
    "invalid_issuer",
    "invalid_audience",
    "authentication_failed",
    "access_denied",
}


@pytest.mark.parametrize(
    ("token", "err"),
    [
        (b"", "invalid_request"),
        (b"garbage", "invalid_request"),
        (b"a" * MAX_BODY_BYTES, "invalid_request"),
        (b"\xff" * 100, "invalid_request"),
        (b'{"events": {}}', "invalid_request"),
        (event_token(typ="JWT"), "invalid_request"),
        (event_token(iat=None), "invalid_request"),
        (event_token(events={}), "invalid_request"),
        (event_token(sub="dev1"), "invalid_request"),
        (event_token(sub_id="dev1"), "invalid_request"),
        (event_token(iss="https://elsewhere.example"), "invalid_issuer"),
        (event_token(iss=None), "invalid_issuer"),
        (event_token(aud="https://elsewhere.example"), "invalid_audience"),
        (event_token(key=OTHER_KEY), "invalid_key"),
        (event_token()[:-4] + b"AAAA", "authentication_failed"),
    ],
)
async def test_a_wrong_token_is_refused_by_its_code_and_has_no_effect(
    token: bytes, err: str, world: World
) -> None:
    answer = await world.push(token)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Language"] == "en"
    assert answer.headers["Cache-Control"] == "no-store"
    document = answer.json()
    assert set(document) == {"err", "description"}
    assert document["err"] == err
    assert err in CODES
    assert (world.stored("event"), world.stored("revocation")) == (0, 0)


@pytest.mark.parametrize(
    "typ",
    ["at+jwt", "JWT", "logout+jwt", "dpop+jwt", "token-introspection+jwt", "statuslist+jwt", ""],
)
async def test_no_other_kind_of_jwt_is_an_event_however_much_it_says(
    typ: str, world: World
) -> None:
    everything = event_token(typ=typ, exp=int(NOW) + 60, client_id="dev1", nonce="n", htm="POST")
    assert (await world.push(everything)).json()["err"] == "invalid_request"
    assert (await world.push(mint("dev1", typ=typ))).json()["err"] == "invalid_request"
    assert world.stored("event") == 0


async def test_other_methods_types_and_paths(world: World) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE", "PATCH"):
        answer = await world.http.request(method, "/events")
        assert answer.status_code == 405
        assert answer.headers["Allow"] == "POST"
    for wrong in ("application/json", "text/plain", "application/jwt", "application/secevents", ""):
        answer = await world.push(event_token(), **{"Content-Type": wrong})
        assert (answer.status_code, answer.json()["err"]) == (415, "invalid_request")
    assert (await world.http.post("/elsewhere", content=b"")).status_code == 404
    assert (await world.http.post("/events/", content=event_token())).status_code == 404
    assert world.stored("event") == 0
    good = await world.push(event_token(), **{"Content-Type": "Application/SecEvent+JWT; x=y"})
    assert good.status_code == 202


async def test_a_body_beyond_its_bound_is_not_read(world: World) -> None:
    answer = await world.push(b"a" * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()["err"]) == (413, "invalid_request")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer s3cre",
        "Bearer s3cret!",
        "Bearer S3CRET",
        "Bearer \xe9",
        "Basic s3cret",
        "s3cret",
        "Bearer,Bearer s3cret",
    ],
)
async def test_without_the_secret_nothing_is_read(
    authorization: str | None, tmp_path: Path
) -> None:
    async with receiving(tmp_path / "guard.db", authorization="s3cret") as world:
        headers: dict[str, Any] = dict(HEADERS)
        if authorization is not None:
            headers["Authorization"] = authorization.encode("latin-1")
        for content in (event_token(), b"", b"a" * (MAX_BODY_BYTES + 1)):
            answer = await world.http.post("/events", content=content, headers=headers)
            assert (answer.status_code, answer.json()["err"]) == (401, "authentication_failed")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert "s3cret" not in answer.text
        assert world.stored("event") == 0


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_with_the_secret_it_is(scheme: str, tmp_path: Path) -> None:
    async with receiving(tmp_path / "guard.db", authorization="s3cret") as world:
        answer = await world.push(event_token(), Authorization=f"{scheme} s3cret")
        assert answer.status_code == 202


async def test_the_secret_does_not_stand_for_the_signature(tmp_path: Path) -> None:
    async with receiving(tmp_path / "guard.db", authorization="s3cret") as world:
        answer = await world.push(event_token(key=OTHER_KEY), Authorization="Bearer s3cret")
        assert (answer.status_code, answer.json()["err"]) == (400, "invalid_key")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    name=st.sampled_from(["iss", "aud", "jti", "iat", "events", "sub_id", "sub", "exp", "toe"]),
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
        max_leaves=8,
    ),
)
async def test_whatever_is_sent_the_answer_is_one_of_the_endpoints(
    name: str, value: Any, world: World
) -> None:
    answer = await world.push(event_token(**{name: value}))
    assert answer.status_code in (202, 400)
    assert (answer.status_code == 202) == (answer.content == b"")
    if answer.content:
        assert answer.json()["err"] in CODES


async def test_curl_pushes_an_event_as_the_documentation_says(world: World, tmp_path: Path) -> None:
    """Over a real socket; docs/operations.md shows this command."""
    file = tmp_path / "event.jwt"
    file.write_bytes(event_token())
    app = guard_app(world.keeper.health, events=world.receiver)
    async with serving(app, Listen(port=0)) as server:
        process = await asyncio.create_subprocess_exec(
            "curl", "--silent", "--show-error", "--write-out", "%{http_code}",
            "-H", "Content-Type: application/secevent+jwt",
            "--data-binary", f"@{file}", f"http://127.0.0.1:{server.port}/events",
            stdout=subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
    assert out == b"202"
    assert world.stored("revocation") == 1


async def test_events_that_come_at_once_and_twice_are_all_taken_in(world: World) -> None:
    tokens = [event_token(f"set-{n}", subject=iss_sub(f"dev{n}")) for n in range(200)]
    answers = await asyncio.gather(*(world.push(token) for token in [*tokens, *tokens]))
    assert {answer.status_code for answer in answers} == {202}
    assert (world.stored("event"), world.stored("revocation")) == (200, 200)

# SPDX-License-Identifier: Apache-2.0
"""Whose events are taken in: those signed with an issuer's present keys, by those who may send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keyfob.errors import ConfigError
from keyfob.guard.events import EventSource
from keyfob.guard.key_sources import HttpKeySource, StaticKeySource
from keyfob.tokens.sign import SigningKey
from tests.guard.events_world import AUDIENCE, HEADERS, World, event_token, receiving
from tests.guard.world import (
    ISSUER,
    KEY,
    OTHER_KEY,
    HttpServer,
    jwks,
    key_set,
    trusted,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with receiving(tmp_path / "guard.db") as made:
        yield made


# --- keys ---


async def test_keys_that_are_not_at_hand_are_fetched(tmp_path: Path, http: HttpServer) -> None:
    http.answer("/jwks", jwks(KEY))
    keys = HttpKeySource(ISSUER, jwks_uri=f"{http.url}/jwks")
    async with receiving(tmp_path / "guard.db", keys=keys) as world:
        assert (await world.push(event_token())).status_code == 202
        await keys.aclose()


async def test_an_issuer_that_is_down_makes_it_unavailable_and_not_refused(
    tmp_path: Path, http: HttpServer
) -> None:
    http.answer("/jwks", b"", status=500)
    keys = HttpKeySource(ISSUER, jwks_uri=f"{http.url}/jwks", cooldown=0.0)
    async with receiving(tmp_path / "guard.db", keys=keys) as world:
        answer = await world.push(event_token())
        assert (answer.status_code, answer.content) == (503, b"")
        http.answer("/jwks", jwks(KEY))
        assert (await world.push(event_token())).status_code == 202
        assert [told.reason for told in world.told()] == ["keys_unavailable", ""]
        await keys.aclose()


async def test_an_unknown_key_is_refused_only_by_the_issuers_last_word(
    tmp_path: Path, http: HttpServer
) -> None:
    """Within the cooldown it is to be sent again: the issuer may have got the key meanwhile."""
    http.answer("/jwks", jwks(KEY))
    keys = HttpKeySource(ISSUER, jwks_uri=f"{http.url}/jwks", cooldown=3600.0)
    async with receiving(tmp_path / "guard.db", keys=keys) as world:
        stranger = event_token(key=OTHER_KEY)
        answer = await world.push(stranger)
        assert (answer.status_code, answer.json()["err"]) == (400, "invalid_key")
        newer = event_token(key=SigningKey.generate())
        assert (await world.push(newer)).status_code == 503
        assert (await world.push(stranger)).status_code == 503
        assert http.count("/jwks") == 1
        await keys.aclose()


async def test_an_event_from_ahead_of_our_clock_is_to_be_sent_again(world: World) -> None:
    """Ours may be the one that is wrong, and a transmitter never repeats what was refused."""
    token = event_token(iat=int(world.clock.now) + 120)
    answer = await world.push(token)
    assert (answer.status_code, answer.content) == (503, b"")
    (told,) = world.told()
    assert told.reason == "token_not_yet_valid"
    world.clock.now += 120
    assert (await world.push(token)).status_code == 202


# --- who may send ---


async def test_a_second_issuer_is_held_to_its_own_keys_audience_and_secret(tmp_path: Path) -> None:
    other, key = "https://other.example", SigningKey.generate()

    def more() -> dict[str, EventSource]:
        source = EventSource(
            trusted=trusted(name="other", issuer=other, max_lifetime=60),
            keys=StaticKeySource(key_set(key)),
            audience="https://guard.example/other",
            authorization="theirs",
        )
        return {other: source}

    async with receiving(tmp_path / "guard.db", authorization="ours", more=more) as world:

        async def push(secret: str, **claims: Any) -> tuple[int, str]:
            answer = await world.push(event_token(**claims), Authorization=f"Bearer {secret}")
            return answer.status_code, answer.json()["err"] if answer.content else ""

        assert await push("ours") == (202, "")
        theirs = {"iss": other, "aud": "https://guard.example/other", "key": key}
        assert await push("theirs", **theirs) == (202, "")
        assert await push("ours", **theirs) == (401, "authentication_failed")
        assert await push("theirs", jti="2") == (401, "authentication_failed")
        assert await push("theirs", **{**theirs, "aud": AUDIENCE}) == (400, "invalid_audience")
        assert await push("theirs", **{**theirs, "key": KEY}) == (400, "invalid_key")
        assert await push("ours", key=key) == (400, "invalid_key")


async def test_who_may_send_can_change_while_it_runs(world: World) -> None:
    sources = world.receiver._sources
    world.receiver.accept_from({})
    refused = await world.push(event_token())
    assert (refused.status_code, refused.json()["err"]) == (401, "authentication_failed")
    world.receiver.accept_from(sources)
    assert (await world.push(event_token())).status_code == 202


@pytest.mark.parametrize(
    ("changes", "key"),
    [({}, "max_lifetime"), ({"audience": ""}, "audience")],
)
def test_a_source_needs_an_audience_and_a_longest_lifetime(
    changes: dict[str, Any], key: str
) -> None:
    keys = StaticKeySource(key_set(KEY))
    lifetime = None if key == "max_lifetime" else 60
    with pytest.raises(ConfigError, match=key):
        EventSource(
            **{
                "trusted": trusted(max_lifetime=lifetime),
                "keys": keys,
                "audience": AUDIENCE,
                **changes,
            }
        )


def test_the_secret_is_not_shown() -> None:
    keys = StaticKeySource(key_set(KEY))
    source = EventSource(
        trusted=trusted(max_lifetime=60), keys=keys, audience=AUDIENCE, authorization="s3cret"
    )
    assert "s3cret" not in repr(source)


async def test_wrong_secrets_and_missing_keys_are_told_with_the_peer(
    tmp_path: Path, http: HttpServer
) -> None:
    keys = HttpKeySource(ISSUER, jwks_uri=f"{http.url}/jwks")
    async with receiving(tmp_path / "guard.db", keys=keys, authorization="s3cr\xe9t") as world:
        assert (await world.push(event_token())).status_code == 401
        headers: dict[str, Any] = {**HEADERS, "Authorization": "Bearer s3cr\xe9t".encode()}
        pushed = world.http.post("/events", content=event_token(), headers=headers)
        assert (await pushed).status_code == 503
        told = [(each.reason, each.issuer, bool(each.peer)) for each in world.told()]
        assert told == [("authentication_failed", "", True), ("keys_unavailable", "", True)]
        assert "s3cr" not in repr(world.told())
        await keys.aclose()

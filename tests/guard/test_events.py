# SPDX-License-Identifier: Apache-2.0
"""A security event ends what it means, is acknowledged when that is on the disk, and only once."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.decision import DenyReason
from keyfob.guard import revocations as revocations_module
from keyfob.guard.audit import Outcome
from keyfob.guard.database import Database
from keyfob.guard.events import KEPT_LONGER, PURGE_INTERVAL
from keyfob.guard.revocations import RevocationStore
from keyfob.guard.session import Change, End, EndCause, SessionState
from keyfob.tokens.security_events import EventType
from keyfob.tokens.sign import SigningKey
from tests.guard.events_world import LIFETIME, World, event_token, iss_sub, receiving
from tests.guard.world import (
    ISSUER,
    NOW,
    mint,
    request,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with receiving(tmp_path / "guard.db") as made:
        yield made


def connect(world: World, client_id: str, epoch: int = 1, **claims: Any) -> DenyReason | None:
    """Let a client connect; return why it is refused."""
    token = mint(client_id, **claims)
    decision = world.keeper.decide(request(client_id, token), broker="b1")
    if decision.allowed:
        assert world.keeper.admitted("b1", client_id, epoch, decision) is None
    return decision.reason


# --- what it does ---


@pytest.mark.parametrize("event", [EventType.SESSION_REVOKED, EventType.TOKEN_CLAIMS_CHANGE])
async def test_the_session_ends_and_the_token_is_refused_and_a_newer_one_is_not(
    event: EventType, world: World
) -> None:
    ends: list[Change] = []
    world.keeper.subscribe(ends.append)
    assert connect(world, "dev1") is None
    assert connect(world, "dev2") is None
    answer = await world.push(event_token(event=event))
    assert (answer.status_code, answer.content) == (202, b"")
    assert ends == [End(broker="b1", client_id="dev1", epoch=1, cause=EndCause.REVOKED)]
    assert connect(world, "dev1") is DenyReason.TOKEN_REVOKED
    assert connect(world, "dev2", epoch=2) is None
    world.clock.now += 2
    assert connect(world, "dev1", epoch=3, iat=int(NOW) + 1, jti="new") is None


async def test_a_token_by_its_name_is_revoked_alone(world: World) -> None:
    subject = {"format": "jwt_id", "iss": ISSUER, "jti": "stolen"}
    assert (await world.push(event_token(subject=subject))).status_code == 202
    assert connect(world, "dev1", jti="stolen") is DenyReason.TOKEN_REVOKED
    assert connect(world, "dev1", jti="other") is None


async def test_an_issuer_speaks_for_its_own_tokens_only(world: World) -> None:
    subject = iss_sub(issuer="https://elsewhere.example")
    assert (await world.push(event_token(subject=subject))).status_code == 202
    assert connect(world, "dev1") is None
    (told,) = world.told()
    assert (told.outcome, told.reason) == (Outcome.EVENT_IGNORED, "without_effect")
    assert "of another issuer" in told.explanation


async def test_what_is_acknowledged_is_told_with_what_it_did(world: World) -> None:
    connect(world, "dev1")
    await world.push(event_token())
    (told,) = world.told()
    assert (told.outcome, told.reason) == (Outcome.EVENT_ACCEPTED, "")
    assert (told.issuer, told.token_id) == (ISSUER, "set-1")
    assert told.explanation == "session-revoked: 1 revoked; 1 sessions ended."
    assert [each.outcome for each in world.sink.events][-2:] == [
        Outcome.REVOKED,
        Outcome.EVENT_ACCEPTED,
    ]


@pytest.mark.parametrize(
    ("token", "explanation"),
    [
        (
            event_token(event=EventType.VERIFICATION),
            "verification: no effect; 0 sessions ended.",
        ),
        (event_token(event="urn:x"), "'urn:x': no effect; 0 sessions ended."),
        (
            event_token(subject={"format": "email", "email": "dev1@example.com"}),
            "session-revoked: no effect, nobody known as 'email'; 0 sessions ended.",
        ),
    ],
)
async def test_what_has_no_effect_is_acknowledged_and_told(
    token: bytes, explanation: str, world: World
) -> None:
    connect(world, "dev1")
    assert (await world.push(token)).status_code == 202
    (told,) = world.told()
    assert (told.outcome, told.reason) == (Outcome.EVENT_IGNORED, "without_effect")
    assert told.explanation == explanation
    assert world.keeper.health().revocations == 0
    assert [s.state for s in world.keeper._sessions] == [SessionState.ONLINE]


async def test_several_events_of_one_token_all_have_their_effect(world: World) -> None:
    events = {
        EventType.SESSION_REVOKED: {"subject": iss_sub("dev1")},
        EventType.TOKEN_CLAIMS_CHANGE: {"subject": iss_sub("dev2"), "claims": {"role": "none"}},
    }
    assert (await world.push(event_token(events=events))).status_code == 202
    assert connect(world, "dev1") is DenyReason.TOKEN_REVOKED
    assert connect(world, "dev2") is DenyReason.TOKEN_REVOKED


# --- replays and time ---


async def test_what_comes_again_has_no_second_effect(world: World, tmp_path: Path) -> None:
    token = event_token()
    assert (await world.push(token)).status_code == 202
    assert connect(world, "dev1", iat=int(NOW) + 1) is None
    for _ in range(2):
        assert (await world.push(token)).status_code == 202
    assert [told.reason for told in world.told()] == ["", "replayed", "replayed"]
    assert (world.stored("event"), world.stored("revocation")) == (1, 1)
    assert [s.state for s in world.keeper._sessions] == [SessionState.ONLINE]


async def test_what_came_before_a_restart_is_known(tmp_path: Path) -> None:
    token = event_token()
    for reason in ("", "replayed"):
        async with receiving(tmp_path / "guard.db") as world:
            assert (await world.push(token)).status_code == 202
            assert [told.reason for told in world.told()] == [reason]
            assert connect(world, "dev1") is DenyReason.TOKEN_REVOKED


async def test_a_late_event_has_its_effect_while_a_token_that_it_means_may_live(
    world: World,
) -> None:
    then = int(NOW)
    world.clock.now = NOW + LIFETIME - 1
    assert (await world.push(event_token())).status_code == 202
    reason = connect(world, "dev1", iat=then, exp=then + LIFETIME)
    assert reason is DenyReason.TOKEN_REVOKED


async def test_an_event_too_old_to_matter_is_acknowledged_and_not_kept(world: World) -> None:
    world.clock.now = NOW + LIFETIME + KEPT_LONGER
    assert (await world.push(event_token())).status_code == 202
    assert [told.reason for told in world.told()] == ["outdated"]
    assert (world.stored("event"), world.stored("revocation")) == (0, 0)


async def test_what_was_taken_in_is_forgotten_when_it_cannot_matter(world: World) -> None:
    await world.push(event_token("one"))
    world.clock.now = NOW + LIFETIME + KEPT_LONGER + PURGE_INTERVAL
    late = int(world.clock.now)
    events: dict[str, Any] = {EventType.SESSION_REVOKED: {}}
    assert (await world.push(event_token("two", iat=late, events=events))).status_code == 202
    assert world.stored("event") == 1
    await world.push(event_token("one"))
    assert [told.reason for told in world.told()] == ["", "", "outdated"]


# --- the disk ---


async def test_a_disk_that_refuses_is_no_acknowledgement_and_the_event_may_come_again(
    world: World, tmp_path: Path
) -> None:
    database = world.keeper._revocations._database
    assert database is not None
    database.flush()
    database._connection.execute("PRAGMA busy_timeout=0")
    other = sqlite3.connect(world.path)
    other.execute("BEGIN IMMEDIATE")
    refused = await world.push(event_token())
    assert (refused.status_code, refused.content) == (503, b"")
    assert int(refused.headers["Retry-After"]) > 0
    assert connect(world, "dev1") is DenyReason.TOKEN_REVOKED  # it holds nevertheless
    other.rollback()
    other.close()
    assert (world.stored("event"), world.stored("revocation")) == (0, 0)
    assert (await world.push(event_token())).status_code == 202
    assert (world.stored("event"), world.stored("revocation")) == (1, 1)
    assert [told.reason for told in world.told()] == ["storage_failed", ""]


async def test_more_revocations_than_can_be_kept_are_no_acknowledgement(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocations_module, "MAX_REVOCATIONS", 1)
    assert (await world.push(event_token("one"))).status_code == 202
    refused = await world.push(event_token("two", subject=iss_sub("dev2")))
    assert refused.status_code == 503
    assert world.stored("event") == 1


PROGRAM = """
import asyncio, sys
from pathlib import Path
from tests.guard.events_world import event_token, iss_sub, receiving

async def main():
    async with receiving(Path(sys.argv[1])) as world:
        for number in range(100_000):
            token = event_token(f"set-{number}", subject=iss_sub(f"dev{number}"))
            answer = await world.push(token)
            print(number, answer.status_code, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 30])
def test_every_acknowledged_event_survives_a_kill_with_its_effect(
    tmp_path: Path, acknowledged: int
) -> None:
    path = tmp_path / "guard.db"
    command = [sys.executable, "-c", PROGRAM, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(acknowledged)]
        process.send_signal(signal.SIGKILL)
        told += [line for line in process.stdout if line.endswith("\n")]
    assert all(line.endswith(" 202\n") for line in told)
    with Database.open(path) as database:
        subjects = {each.subject for each in RevocationStore(database)}
        events = {str(jti) for (jti,) in database.rows("SELECT jti FROM event")}
    assert {f"set-{line.split()[0]}" for line in told} <= events
    # One transaction: neither is ever there without the other.
    assert {jti.replace("set-", "dev") for jti in events} == subjects


# --- no trace ---


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: event_token(key=SigningKey.generate(), iss="https://elsewhere.example/CANARY"),
        lambda: event_token("CANARY", typ="CANARY"),
        lambda: event_token("CANARY", aud="CANARY"),
        lambda: event_token("CANARY", events={"CANARY": 1}),
        lambda: event_token("CANARY", sub="CANARY"),
        lambda: b"CANARY",
        lambda: b"e30.CANARY.CANARY",
    ],
)
async def test_nothing_of_a_refused_token_reaches_the_audit(
    spoil: Any, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await world.push(spoil())
    assert answer.status_code == 400
    (told,) = world.told()
    assert told.outcome is Outcome.EVENT_REFUSED
    assert told.reason
    assert "CANARY" not in repr(told)
    assert "CANARY" not in caplog.text


async def test_no_token_reaches_the_audit_or_a_log(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    token = event_token(subject={"format": "complex", "user": {"format": "email", "email": "x@y"}})
    await world.push(token)
    text = json.dumps([repr(each) for each in world.sink.events]) + caplog.text
    assert not any(part.decode() in text for part in token.split(b"."))
    assert "x@y" not in text

# SPDX-License-Identifier: Apache-2.0
"""A connection's next token that is found good, or not, when its broker waits no more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from keyfob.authorization.decision import Decision, DenyReason
from keyfob.guard.answering import Patient
from keyfob.guard.audit import AuditLog, Outcome
from keyfob.guard.authenticating import Authenticating
from keyfob.guard.guard import Guard
from keyfob.guard.late_renewals import LateRenewals
from keyfob.guard.renewal import Renewal
from keyfob.guard.revocations import Revocation
from keyfob.guard.session import Change, End, EndCause, Replacement, Session, SessionState
from keyfob.guard.sessions import SessionStore
from keyfob.tokens.sign import SigningKey
from tests.guard.test_authenticating import METHODS, NEXT, asked, decided, house
from tests.guard.world import (
    ISSUER,
    KEY,
    NOW,
    Clock,
    EventList,
    HttpServer,
    guard,
    keys_at,
    mint,
    until,
)

pytestmark = pytest.mark.anyio

IMPATIENT = Patient(0.0, stands_still=True)
JSON = "Content-Type: application/json\r\n"
NEXT_KEY = SigningKey.generate()


class World:
    """A guard with one client in, and what it told the brokers and the audit."""

    def __init__(
        self, keeper: Guard, sessions: SessionStore, sink: EventList, audit: AuditLog
    ) -> None:
        self.guard = keeper
        self.sessions = sessions
        self.methods: Authenticating = keeper.authenticating("b1")
        self.told: list[Change] = []
        self._sink, self._audit = sink, audit
        keeper.subscribe(self.told.append)

    @property
    def session(self) -> Session | None:
        return self.sessions.get("b1", "dev1")

    @property
    def token_id(self) -> str:
        return "" if self.session is None else self.session.token_id

    def outcomes(self) -> list[tuple[Outcome, str]]:
        self._audit.flush()
        return [(event.outcome, event.reason) for event in self._sink.events]

    async def shows(self, token: str) -> Decision:
        """Show the next token to a guard that may not wait."""
        return await decided(self.methods.reauthenticate(1, asked(token), IMPATIENT))

    async def settled(self) -> None:
        """Let everything happen that can."""
        for _ in range(20):
            await asyncio.sleep(0.001)


@asynccontextmanager
async def world(http: HttpServer, clock: Clock, **arguments: Any) -> AsyncIterator[World]:
    """A guard whose keys come from an issuer; it has the first token's key by now."""
    http.answer("/jwks", json.dumps({"keys": [KEY.public_jwk()]}))
    sink, sessions = EventList(), SessionStore()
    audit = AuditLog([sink])
    keeper = guard(
        keys=keys_at(http, clock),
        clock=clock,
        sessions=sessions,
        audit=audit,
        **METHODS,
        **arguments,
    )
    async with keeper:
        assert await keeper.ready(20)
        here = World(keeper, sessions, sink, audit)
        decision = await decided(here.methods.connect(1, asked(mint()), IMPATIENT))
        assert keeper.admitted("b1", "dev1", 1, decision) is None
        clock.now += 60  # the cooldown of its keys is over
        yield here


def rotated(http: HttpServer, **claims: Any) -> tuple[str, asyncio.Event]:
    """Have the issuer sign with a new key, which it tells once the event is set."""
    tell = asyncio.Event()
    http.answer("/jwks", json.dumps({"keys": [NEXT_KEY.public_jwk()]}), after=tell)
    return mint(key=NEXT_KEY, **{"jti": "next", "scope": "mqtt.connect", **claims}), tell


async def test_a_token_whose_key_comes_late_renews_the_connection(
    http: HttpServer, clock: Clock
) -> None:
    async with world(http, clock) as here:
        token, tell = rotated(http, exp=int(NOW) + 1800)
        decision = await here.shows(token)
        assert decision.reason is DenyReason.KEYS_UNAVAILABLE
        await here.settled()
        assert (here.token_id, here.told) == ("jti-dev1", [])
        tell.set()
        await until(lambda: here.told)
        assert here.session is not None
        assert here.told == [Replacement(session=here.session)]
        assert (here.session.token_id, here.session.expires_at) == ("next", NOW + 1800)
        assert here.session.permissions.rules == ()
        assert (here.session.epoch, here.session.state) == (1, SessionState.ONLINE)
        assert here.outcomes() == [
            (Outcome.ALLOWED, ""),
            (Outcome.REFUSED, "keys_unavailable"),
            (Outcome.REAUTHENTICATED, ""),
        ]


async def test_one_that_is_refused_late_ends_the_connection_as_its_tokens_end_would(
    http: HttpServer, clock: Clock
) -> None:
    """As at once: by its will, and with its stored session as it was."""
    async with world(http, clock) as here:
        token, tell = rotated(http, client_id="another")
        await here.shows(token)
        tell.set()
        await until(lambda: here.told)
        assert here.told == [End(broker="b1", client_id="dev1", epoch=1, cause=EndCause.EXPIRED)]
        assert here.token_id == "jti-dev1"
        assert here.outcomes()[-1] == (Outcome.REFUSED, "identity_changed")


async def test_a_key_that_its_issuer_does_not_have_is_a_bad_token_late_too(
    http: HttpServer, clock: Clock
) -> None:
    async with world(http, clock) as here:
        tell = asyncio.Event()
        http.answer("/jwks", json.dumps({"keys": [KEY.public_jwk()]}), after=tell)
        decision = await here.shows(mint(key=NEXT_KEY))
        assert decision.reason is DenyReason.KEYS_UNAVAILABLE
        tell.set()
        await until(lambda: here.told)
        assert here.outcomes()[-1] == (Outcome.REFUSED, "key_unknown")


async def test_an_issuer_that_says_nothing_good_or_bad_changes_nothing(
    http: HttpServer, clock: Clock
) -> None:
    async with world(http, clock) as here:
        tell = asyncio.Event()
        http.answer("/jwks", "down", status=503, after=tell)
        await here.shows(mint(key=NEXT_KEY))
        tell.set()
        await until(lambda: here.guard.health().keys[ISSUER].failure)
        await here.settled()
        assert (here.token_id, here.told) == ("jti-dev1", [])
        assert here.outcomes()[1:] == [
            (Outcome.REFUSED, "keys_unavailable"),
            (Outcome.UPSTREAM_FAILED, ""),
        ]


@pytest.mark.parametrize(
    "event", ["offline", "takeover", "expired", "revoked", "another token", "link gone"]
)
async def test_what_comes_late_counts_for_no_other_connection_token_or_link(
    http: HttpServer, clock: Clock, event: str
) -> None:
    async with world(http, clock) as here:
        token, tell = rotated(http, exp=int(NOW) + 7200)
        await here.shows(token)
        match event:
            case "offline":
                here.guard.offline("b1", "dev1", 1, kept=True)
            case "takeover":
                decision = await decided(here.methods.connect(2, asked(mint()), IMPATIENT))
                here.guard.admitted("b1", "dev1", 2, decision)
            case "expired":
                clock.now += 3600
            case "revoked":
                await here.guard.revoke(Revocation(issuer=ISSUER, token_id="jti-dev1", until=NOW))
            case "another token":
                decision = await here.shows(mint(jti="third"))
                assert here.guard.admitted("b1", "dev1", 1, decision) is None
            case _:
                here.methods.close()
        known, told = here.session, list(here.told)
        tell.set()
        await until(lambda: here.guard.health().keys[ISSUER].age == 0)  # the keys are there
        await here.settled()
        assert (here.session, here.told) == (known, told)


async def test_a_revocation_that_the_late_token_meets_ends_it(
    http: HttpServer, clock: Clock
) -> None:
    async with world(http, clock) as here:
        token, tell = rotated(http)
        await here.shows(token)
        await here.guard.revoke(Revocation(issuer=ISSUER, token_id="next", until=NOW + 7200))
        tell.set()
        await until(lambda: here.told)
        assert [each.cause for each in here.told if isinstance(each, End)] == [EndCause.EXPIRED]
        assert here.outcomes()[-1] == (Outcome.REFUSED, "token_revoked")


async def test_an_answer_of_the_issuer_that_comes_late_renews_and_is_asked_about_again(
    http: HttpServer, clock: Clock
) -> None:
    members = {"active": True, "sub": "dev1", "aud": "mqtt", "exp": NOW + 600}

    def vouch(scope: str, after: asyncio.Event | None = None, **changes: Any) -> None:
        body = json.dumps({**members, "scope": scope, **changes})
        http.answer("/i", body, headers=JSON, after=after)

    vouch("mqtt.connect")
    async with house(http, clock) as here:
        await here.let_in()
        told: list[Change] = []
        here.guard.subscribe(told.append)
        tell = asyncio.Event()
        vouch("mqtt.connect mqtt.publish:up/a", tell)
        decision = await decided(here.methods.reauthenticate(1, asked(NEXT), IMPATIENT))
        assert decision.reason is DenyReason.INTROSPECTION_UNAVAILABLE
        tell.set()
        await until(lambda: told)
        session = here.sessions.get("b1", "dev1")
        assert session is not None
        assert [str(rule.filter) for rule in session.permissions.rules] == ["up/a"]
        assert session.ask_by is not None
        assert len(here.reasking) == 1
        vouch("", active=False)
        await until(
            lambda: (s := here.sessions.get("b1", "dev1")) and s.state is SessionState.REVOKED
        )


# How many


async def test_no_more_wait_than_there_may_be_and_none_is_left() -> None:
    settled: list[str] = []
    late = LateRenewals(lambda renewal, _: settled.append(renewal.client_id), size=2)
    begin = asyncio.Event()

    async def answer() -> Decision:
        await begin.wait()
        return Decision.refuse(DenyReason.KEY_UNKNOWN)

    def renewal(client_id: str) -> Renewal:
        return Renewal(sessions=SessionStore(), broker="b1", client_id=client_id, epoch=1)

    for client_id in ("a", "b", "c", "a"):
        late.expect(renewal(client_id), answer)
    assert len(late) == 2
    begin.set()
    await until(lambda: not len(late))
    assert sorted(settled) == ["a", "b"]
    begin.clear()
    late.expect(renewal("a"), answer)
    late.forget_all("another broker")
    assert len(late) == 1
    late.forget_all()
    assert len(late) == 0

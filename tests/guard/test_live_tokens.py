# SPDX-License-Identifier: Apache-2.0
"""Live sessions with introspected tokens: revoked at the issuer, they end; also after a restart."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.decision import DenyReason
from keyfob.authorization.policy import Policy, PolicyRule
from keyfob.guard.audit import AuditLog, Outcome
from keyfob.guard.database import Database
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.introspection import Introspector
from keyfob.guard.introspection_answers import Refused
from keyfob.guard.key_sources import StaticKeySource
from keyfob.guard.reasking import Reasking
from keyfob.guard.session import Change, End, EndCause, Replacement, SessionState
from keyfob.guard.sessions import SessionStore
from keyfob.oauth.client_authentication import ClientSecretBasic
from tests.guard.world import (
    ISSUER,
    KEY,
    NOW,
    Clock,
    EventList,
    HttpServer,
    key_set,
    mint,
    record,
    request,
    trusted,
    until,
)

pytestmark = pytest.mark.anyio

TOKEN = "opaque-token-0123456789"
JSON = "Content-Type: application/json\r\n"
SCOPE = "mqtt.connect mqtt.publish:up/%2B"
ADMIN = PolicyRule(kind="claim", claim="role", value="admin", subscribe=("all/#",))


class House:
    """A guard whose issuer is asked about every live token again within a few milliseconds."""

    def __init__(
        self, http: HttpServer, clock: Clock, sessions: SessionStore, interval: float = 0.005
    ) -> None:
        self.http, self.clock, self.sessions = http, clock, sessions
        self.sink = EventList()
        self.audit = AuditLog([self.sink])
        issuer = trusted(introspect="opaque")
        self.introspector = Introspector(
            issuer,
            ClientSecretBasic(client_id="guard", client_secret="x"),
            endpoint=f"{http.url}/i",
            clock=clock,
        )
        self.reasking: Reasking[tuple[str, str]] = Reasking(
            self.introspector, interval, clock=clock, tick=0.001
        )
        self.binding = IssuerBinding(
            trusted=issuer,
            keys=StaticKeySource(key_set(KEY)),
            policy=Policy(rules=(ADMIN,)),
            introspector=self.introspector,
            opaque_prefix="",
            reasking=self.reasking,
        )
        self.guard = Guard({ISSUER: self.binding}, clock=clock, sessions=sessions, audit=self.audit)
        self.told: list[Change] = []
        self.guard.subscribe(self.told.append)

    async def let_in(self, token: str = TOKEN, epoch: int = 1) -> None:
        decision = await self.guard.connect(request(token=token), broker="b1", deadline=30.0)
        assert decision.allowed, decision.detail
        assert self.guard.admitted("b1", "dev1", epoch, decision) is None

    def reasons(self) -> list[tuple[Outcome, str]]:
        self.audit.flush()
        ends = (Outcome.REVOKED, Outcome.REPLACED)
        return [(e.outcome, e.reason) for e in self.sink.events if e.outcome in ends]


@asynccontextmanager
async def house(
    http: HttpServer, clock: Clock, sessions: SessionStore | None = None, **arguments: Any
) -> AsyncIterator[House]:
    made = House(http, clock, SessionStore() if sessions is None else sessions, **arguments)
    async with made.guard:
        yield made


def vouch(http: HttpServer, **changes: Any) -> None:
    members = {"active": True, "sub": "dev1", "aud": "mqtt", "exp": NOW + 600, "scope": SCOPE}
    http.answer("/i", json.dumps({**members, **changes}), headers=JSON)


async def test_a_token_that_its_issuer_revokes_ends_the_session(
    http: HttpServer, clock: Clock
) -> None:
    vouch(http)
    async with house(http, clock) as here:
        await here.let_in()
        await until(lambda: http.count("/i") >= 3)  # asked again and again
        assert here.told == []
        vouch(http, active=False)
        await until(lambda: here.told)
        assert here.told == [End(broker="b1", client_id="dev1", epoch=1, cause=EndCause.REVOKED)]
        assert here.reasons() == [(Outcome.REVOKED, "token_inactive")]
        refused = await here.guard.connect(request(token=TOKEN), broker="b1", deadline=30.0)
        assert refused.reason is DenyReason.TOKEN_INACTIVE


async def test_an_issuer_that_is_down_ends_nobody(http: HttpServer, clock: Clock) -> None:
    vouch(http)
    async with house(http, clock) as here:
        await here.let_in()
        http.answer("/i", b"", status=503)
        asked = http.count("/i")
        await until(lambda: http.count("/i") >= asked + 3)
        assert here.told == []
        assert here.sessions.get("b1", "dev1") is not None


async def test_rights_that_the_issuer_changes_are_followed(http: HttpServer, clock: Clock) -> None:
    vouch(http)
    async with house(http, clock) as here:
        await here.let_in()
        vouch(http, role="admin")
        await until(lambda: here.told)
        (told,) = here.told
        assert isinstance(told, Replacement)
        assert {str(rule.filter) for rule in told.session.permissions.rules} == {"up/+", "all/#"}


async def test_who_went_is_not_asked_about(http: HttpServer, clock: Clock) -> None:
    vouch(http)
    async with house(http, clock, interval=30.0) as here:
        await here.let_in()
        assert len(here.reasking) == 1
        here.guard.offline("b1", "dev1", 1, True)
        assert len(here.reasking) == 0


async def test_a_late_word_of_an_earlier_connection_forgets_nothing(
    http: HttpServer, clock: Clock
) -> None:
    vouch(http)
    async with house(http, clock, interval=30.0) as here:
        await here.let_in(epoch=1)
        await here.let_in(epoch=2)
        here.guard.offline("b1", "dev1", 1, False)
        assert len(here.reasking) == 1


async def test_a_session_that_goes_on_with_a_signed_token_is_not_asked_about(
    http: HttpServer, clock: Clock
) -> None:
    vouch(http)
    async with house(http, clock, interval=30.0) as here:
        await here.let_in()
        await here.let_in(mint("dev1"), epoch=2)
        assert len(here.reasking) == 0
        session = here.sessions.get("b1", "dev1")
        assert session is not None
        assert session.ask_by is None


async def test_after_a_restart_a_session_ends_when_it_would_have_been_asked_about(
    http: HttpServer, clock: Clock, tmp_path: Path
) -> None:
    """Its token is in no file: nobody can ask about it. It ends as expired, not as revoked."""
    vouch(http)
    with Database.open(tmp_path / "guard.db") as database:
        async with house(http, clock, SessionStore(database), interval=30.0) as here:
            await here.let_in()
    assert TOKEN.encode() not in (tmp_path / "guard.db").read_bytes()
    with Database.open(tmp_path / "guard.db") as database:
        async with house(http, clock, SessionStore(database)) as here:
            session = here.sessions.get("b1", "dev1")
            assert session is not None
            assert session.ask_by is not None
            clock.now = session.ask_by - 0.001
            here.guard._live.end_unasked()
            assert here.told == []
            clock.now = session.ask_by
            here.guard._live.end_unasked()
            (told,) = here.told
            assert isinstance(told, Replacement)
            assert told.session.expires_at == clock.now
            assert told.session.state is SessionState.ONLINE
            assert here.reasons() == [(Outcome.REVOKED, "introspection_unavailable")]
            # And shows its token anew.
            await here.let_in(epoch=2)


async def test_a_session_whose_issuer_is_asked_no_more_ends_in_time(
    http: HttpServer, clock: Clock
) -> None:
    vouch(http)
    async with house(http, clock, interval=30.0) as here:
        await here.let_in()
        plain = IssuerBinding(trusted=trusted(), keys=here.binding.keys, policy=here.binding.policy)
        await here.guard.reload({ISSUER: plain})
        session = here.sessions.get("b1", "dev1")
        assert session is not None
        assert session.ask_by is not None
        clock.now = session.ask_by
        here.guard._live.end_unasked()
        assert isinstance(here.told[-1], Replacement)


async def test_a_reload_that_changes_nothing_goes_on_asking(http: HttpServer, clock: Clock) -> None:
    vouch(http)
    async with house(http, clock, interval=0.2) as here:
        await here.let_in()
        await here.guard.reload({ISSUER: here.binding})
        clock.now += 300
        here.guard._live.end_unasked()
        assert here.told == []
        vouch(http, active=False)
        await until(lambda: here.told)


async def test_a_token_that_becomes_somebody_elses_ends_the_session(
    http: HttpServer, clock: Clock
) -> None:
    """Also where any device may have the identifier, because the broker made it up."""
    vouch(http)
    async with house(http, clock) as here:
        wanted = request("auto-1", TOKEN, clean=True, assigned=True)
        decision = await here.guard.connect(wanted, broker="b1", deadline=30.0)
        assert here.guard.admitted("b1", "auto-1", 1, decision) is None
        vouch(http, sub="dev2")
        await until(lambda: here.told)
        assert here.told == [End(broker="b1", client_id="auto-1", epoch=1, cause=EndCause.REVOKED)]
        assert here.reasons() == [(Outcome.REVOKED, "session_owned_by_another")]


async def test_an_answer_about_a_session_that_is_gone_is_nobody_elses(
    http: HttpServer, clock: Clock
) -> None:
    """The link was down when the client went; another issuer's device came under its name."""
    vouch(http)
    other = trusted(name="other", issuer="https://other.example")
    keys = StaticKeySource(key_set(KEY))
    async with house(http, clock) as here:
        await here.guard.reload(
            {
                ISSUER: here.binding,
                other.issuer: IssuerBinding(trusted=other, keys=keys, policy=Policy()),
            }
        )
        await here.let_in()
        here.sessions.remove("b1", "dev1")  # as when a plugin's list does not name it
        wanted = request(token=mint(iss=other.issuer))
        decision = here.guard.decide(wanted, broker="b1")
        assert here.guard.admitted("b1", "dev1", 2, decision) is None
        before = here.sessions.get("b1", "dev1")
        assert len(here.reasking) == 0
        vouch(http, active=False)
        here.told.clear()
        here.guard._live.told(("b1", "dev1"), Refused(code="token_inactive", message=""), None)
        assert (here.told, here.sessions.get("b1", "dev1")) == ([], before)


async def test_a_session_that_is_gone_is_asked_about_no_more(
    http: HttpServer, clock: Clock
) -> None:
    vouch(http)
    async with house(http, clock) as here:
        await here.let_in()
        here.sessions.remove("b1", "dev1")  # as when a plugin's list does not name it
        await until(lambda: len(here.reasking) == 0)


async def test_a_session_that_could_not_be_asked_about_is_not_revived_by_a_reload(
    http: HttpServer, clock: Clock
) -> None:
    """Its plugin may not have heard yet that it ended: the link was down."""
    vouch(http, jti="t1", iat=NOW - 1, client_id="dev1")
    async with house(http, clock, interval=60.0) as here:
        await here.let_in()
        here.reasking.give_up()  # as a restart does
        clock.now += 61
        here.guard._live.end_unasked()
        await here.guard.reconsider()
        session = here.sessions.get("b1", "dev1")
        assert session is not None
        assert session.expires_at <= clock.now


async def test_a_session_whose_token_only_its_plugin_knew_ends_in_time(
    http: HttpServer, clock: Clock
) -> None:
    """The guard's file was lost, or the word that the client is in: nobody can ask about it."""
    async with house(http, clock, interval=30.0) as here:
        resync = here.guard.begin_link("b1", b"1" * 16)
        resync.record(record("dev1", token_id=""))
        resync.finish()
        assert here.told == []
        clock.now += 30
        here.guard._live.end_unasked()
        (told,) = here.told
        assert isinstance(told, Replacement)
        assert told.session.expires_at == clock.now


async def test_an_answer_about_an_earlier_token_says_nothing_of_an_adopted_one(
    http: HttpServer, clock: Clock
) -> None:
    """The word of a second connection was lost, and its plugin tells of it when it comes back."""
    vouch(http, jti="t1")
    async with house(http, clock, interval=30.0) as here:
        await here.let_in()
        resync = here.guard.begin_link("b1", b"1" * 16)
        resync.record(record("dev1", epoch=2, token_id="t2"))
        resync.finish()
        assert len(here.reasking) == 0

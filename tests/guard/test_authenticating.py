# SPDX-License-Identifier: Apache-2.0
"""Enhanced authentication at the guard: introspected tokens, waiting, audit, metrics, proofs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from keyfob.authorization.decision import ConnectRequest, Decision, DenyReason
from keyfob.authorization.policy import Policy
from keyfob.errors import ClaimError
from keyfob.guard.answering import Patient
from keyfob.guard.audit import AuditLog, Outcome
from keyfob.guard.authenticating import Authenticating, Shown
from keyfob.guard.exchanges.exchange import Challenge
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.introspection import Introspector
from keyfob.guard.key_sources import StaticKeySource
from keyfob.guard.reasking import Reasking
from keyfob.guard.session import SessionState
from keyfob.guard.sessions import SessionStore
from keyfob.oauth.client_authentication import ClientSecretBasic
from keyfob.tokens.verify import VerifiedToken
from tests.guard.world import (
    ISSUER,
    KEY,
    NOW,
    Clock,
    EventList,
    HttpServer,
    key_set,
    mint,
    trusted,
    until,
)
from tests.guard.world import guard as make_guard

pytestmark = pytest.mark.anyio

METHODS: Final[dict[str, Any]] = {"authentication_methods": ("OAUTH2-JWT",)}
JSON: Final = "Content-Type: application/json\r\n"
FIRST, NEXT = "opaque-token-0123456789", "another-token-0123456789"
LONG: Final = Patient(30.0, stands_still=False)


def asked(data: str, **changes: Any) -> ConnectRequest:
    return ConnectRequest(
        client_id="dev1",
        authentication_method="OAUTH2-JWT",
        authentication_data=data.encode(),
        **changes,
    )


async def decided(shown: Challenge | Shown) -> Decision:
    assert isinstance(shown, Shown)
    decision = shown.decision
    return await decision if isinstance(decision, Awaitable) else decision


class House:
    """A guard whose issuer is asked about every token, and about live ones again and again."""

    def __init__(self, http: HttpServer, clock: Clock) -> None:
        issuer = trusted(introspect="opaque")
        introspector = Introspector(
            issuer,
            ClientSecretBasic(client_id="guard", client_secret="x"),
            endpoint=f"{http.url}/i",
            clock=clock,
        )
        self.reasking: Reasking[tuple[str, str]] = Reasking(
            introspector, 0.005, clock=clock, tick=0.001
        )
        binding = IssuerBinding(
            trusted=issuer,
            keys=StaticKeySource(key_set(KEY)),
            policy=Policy(),
            introspector=introspector,
            opaque_prefix="",
            reasking=self.reasking,
        )
        self.introspector = introspector
        self.sessions = SessionStore()
        self.guard = Guard({ISSUER: binding}, clock=clock, sessions=self.sessions, **METHODS)
        self.methods: Authenticating = self.guard.authenticating("b1")

    async def let_in(self) -> None:
        decision = await decided(self.methods.connect(1, asked(FIRST), LONG))
        assert decision.allowed, decision.detail
        assert self.guard.admitted("b1", "dev1", 1, decision) is None


@asynccontextmanager
async def house(http: HttpServer, clock: Clock) -> AsyncIterator[House]:
    made = House(http, clock)
    async with made.guard:
        yield made


def vouch(http: HttpServer, scope: str = "mqtt.connect", **changes: Any) -> None:
    members = {"active": True, "sub": "dev1", "aud": "mqtt", "exp": NOW + 600, "scope": scope}
    http.answer("/i", json.dumps({**members, **changes}), headers=JSON)


async def test_from_a_renewal_on_the_new_token_is_asked_about(
    http: HttpServer, clock: Clock
) -> None:
    vouch(http)
    async with house(http, clock) as here:
        await here.let_in()
        assert len(here.reasking) == 1
        vouch(http, "mqtt.connect mqtt.publish:up/a")
        decision = await decided(here.methods.reauthenticate(1, asked(NEXT), LONG))
        assert decision.allowed, decision.detail
        assert here.guard.admitted("b1", "dev1", 1, decision) is None
        session = here.sessions.get("b1", "dev1")
        assert session is not None
        assert session.ask_by is not None
        assert [str(rule.filter) for rule in session.permissions.rules] == ["up/a"]
        assert len(here.reasking) == 1
        before = http.count("/i")
        await until(lambda: http.count("/i") > before + 2)
        assert here.sessions.get("b1", "dev1") is not None
        vouch(http, active=False)
        await until(
            lambda: (s := here.sessions.get("b1", "dev1")) and s.state is SessionState.REVOKED
        )


async def test_a_session_that_ends_while_its_issuer_is_asked_is_not_renewed(
    http: HttpServer, clock: Clock
) -> None:
    vouch(http)
    async with house(http, clock) as here:
        await here.let_in()
        shown = here.methods.reauthenticate(1, asked(NEXT), LONG)
        here.guard.offline("b1", "dev1", 1, kept=True)
        decision = await decided(shown)
        assert decision.reason is DenyReason.SESSION_ENDED


async def test_an_issuer_that_does_not_answer_is_no_bad_token(
    http: HttpServer, clock: Clock
) -> None:
    vouch(http)
    async with house(http, clock) as here:
        await here.let_in()
        impatient = Patient(0.0, stands_still=True)
        decision = await decided(here.methods.reauthenticate(1, asked(NEXT), impatient))
        assert decision.reason is DenyReason.INTROSPECTION_UNAVAILABLE
        session = here.sessions.get("b1", "dev1")
        assert session is not None
        assert session.state is SessionState.ONLINE


async def test_each_is_told_once_and_by_its_own_word() -> None:
    sink = EventList()
    audit = AuditLog([sink])
    guard = make_guard(audit=audit, **METHODS)
    methods = guard.authenticating("b1")
    assert methods.connect(1, asked(""), LONG) == Challenge(b"")
    decision = await decided(methods.proceed(1, "dev1", mint().encode(), LONG))
    guard.admitted("b1", "dev1", 1, decision)
    renewed = await decided(methods.reauthenticate(1, asked(mint(jti="next")), LONG))
    guard.admitted("b1", "dev1", 1, renewed)
    await decided(methods.reauthenticate(1, asked(mint(client_id="app")), LONG))
    audit.flush()
    assert [(event.outcome, event.reason) for event in sink.events] == [
        (Outcome.ALLOWED, ""),
        (Outcome.REAUTHENTICATED, ""),
        (Outcome.REFUSED, "identity_changed"),
    ]
    assert mint() not in repr(sink.events)


class Proven:
    """A proof that holds, or does not."""

    def __init__(self, holds: bool) -> None:
        self.holds = holds
        self.seen: list[tuple[str, float]] = []

    def check(self, token: VerifiedToken, now: float) -> None:
        self.seen.append((token.subject, now))
        if not self.holds:
            raise ClaimError("it is another key", code="confirmation_unproven", claim="cnf")


@pytest.mark.parametrize("holds", [True, False])
async def test_what_a_method_proves_is_checked_against_the_verified_claims(holds: bool) -> None:
    proof = Proven(holds)
    token = mint(cnf={"jkt": "x"})
    request = asked(token, proof=proof)
    decision = make_guard(**METHODS).decide(request)
    assert decision.allowed is holds
    assert decision.reason is (None if holds else DenyReason.CONFIRMATION_UNPROVEN)
    assert proof.seen == [("dev1", NOW)]


async def test_without_a_proof_a_key_bound_token_is_refused_by_any_method() -> None:
    decision = make_guard(**METHODS).decide(asked(mint(cnf={"jkt": "x"})))
    assert decision.reason is DenyReason.CONFIRMATION_UNPROVEN

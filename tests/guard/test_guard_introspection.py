# SPDX-License-Identifier: Apache-2.0
"""A guard lets in whom an issuer vouches for, and calls nobody bad whose issuer is silent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from keyfob.authorization.decision import Decision, DenyReason
from keyfob.authorization.policy import Policy
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.introspection import Introspector
from keyfob.guard.key_sources import StaticKeySource
from keyfob.guard.revocations import Revocation
from keyfob.oauth.client_authentication import ClientSecretBasic
from keyfob.tokens.verify import TrustedIssuer
from tests.guard.world import (
    ISSUER,
    KEY,
    NOW,
    Clock,
    HttpServer,
    key_set,
    mint,
    request,
    trusted,
    until,
)

pytestmark = pytest.mark.anyio

TOKEN = "opaque-token-0123456789"
JSON = "Content-Type: application/json\r\n"
SCOPE = "mqtt.connect mqtt.publish:up/%2B"


def asking(http: HttpServer, clock: Clock, issuer: TrustedIssuer, **settings: Any) -> IssuerBinding:
    introspector = Introspector(
        issuer,
        ClientSecretBasic(client_id="guard", client_secret="x"),
        endpoint=f"{http.url}/i",
        clock=clock,
        **settings,
    )
    return IssuerBinding(
        trusted=issuer,
        keys=StaticKeySource(key_set(KEY)),
        policy=Policy(),
        introspector=introspector,
        opaque_prefix="",
    )


@asynccontextmanager
async def guarding(
    http: HttpServer, clock: Clock, use: Any = "opaque", **settings: Any
) -> AsyncIterator[Guard]:
    binding = asking(http, clock, trusted(introspect=use), **settings)
    assert binding.introspector is not None
    try:
        yield Guard({ISSUER: binding}, clock=clock)
    finally:
        await binding.introspector.aclose()


def vouch(http: HttpServer, *, after: asyncio.Event | None = None, **changes: Any) -> None:
    members = {"active": True, "sub": "dev1", "aud": "mqtt", "exp": NOW + 600, "scope": SCOPE}
    http.answer("/i", json.dumps({**members, **changes}), headers=JSON, after=after)


async def connect(guard: Guard, token: str = TOKEN) -> Decision:
    return await guard.connect(request(token=token), broker="b", deadline=30.0)


async def test_an_opaque_token_lets_in_whom_its_issuer_names(
    http: HttpServer, clock: Clock
) -> None:
    vouch(http)
    async with guarding(http, clock) as guard:
        for _ in range(3):
            decision = await connect(guard)
            assert (decision.allowed, decision.principal) == (True, "dev1")
            assert decision.expires_at == NOW + 600
            assert len(decision.permissions.rules) == 1
    assert http.count("/i") == 1


async def test_a_jwt_is_asked_about_only_where_its_issuer_wants_it(
    http: HttpServer, clock: Clock
) -> None:
    vouch(http)
    async with guarding(http, clock) as guard:
        assert (await connect(guard, mint())).expires_at == NOW + 3600
    assert http.count("/i") == 0
    async with guarding(http, clock, "always") as guard:
        good = mint()
        for _ in range(3):
            assert (await connect(guard, good)).expires_at == NOW + 600
        bad = mint(aud="other")
        assert (await connect(guard, bad)).reason is DenyReason.AUDIENCE_MISMATCH
    assert http.count("/i") == 1


async def test_each_outcome_has_its_reason(http: HttpServer, clock: Clock) -> None:
    async with guarding(http, clock) as guard:
        http.answer("/i", b'{"active":false}', headers=JSON)
        assert (await connect(guard, TOKEN + "1")).reason is DenyReason.TOKEN_INACTIVE
        vouch(http, aud="other")
        assert (await connect(guard, TOKEN + "2")).reason is DenyReason.AUDIENCE_MISMATCH
        vouch(http, sub="dev2")
        assert (await connect(guard, TOKEN + "3")).reason is DenyReason.CLIENT_ID_MISMATCH
        vouch(http, cnf={"x5t#S256": "x"})
        assert (await connect(guard, TOKEN + "4")).reason is DenyReason.CONFIRMATION_UNPROVEN
        http.answer("/i", b"", status=500)
        silent = await connect(guard, TOKEN + "5")
        assert silent.reason is DenyReason.INTROSPECTION_UNAVAILABLE
        asked = http.count("/i")
        assert (await connect(guard, "hunter2")).reason is DenyReason.TOKEN_MALFORMED
        assert http.count("/i") == asked


async def test_a_revocation_counts_though_the_answer_is_kept(
    http: HttpServer, clock: Clock
) -> None:
    vouch(http, jti="t1", iat=NOW - 1)
    async with guarding(http, clock) as guard:
        assert (await connect(guard)).allowed
        await guard.revoke(Revocation(issuer=ISSUER, token_id="t1", until=NOW + 700))
        assert (await connect(guard)).reason is DenyReason.TOKEN_REVOKED
    assert http.count("/i") == 1


async def test_a_broker_that_stands_still_waits_once_for_a_server_that_hangs(
    http: HttpServer, clock: Clock
) -> None:
    async def hang(_: asyncio.StreamWriter, __: str) -> None:
        await asyncio.Event().wait()

    http.routes["/i"] = hang
    async with guarding(http, clock, timeout=30.0) as guard:
        at_once = []
        for number in range(5):
            answer = guard.answer(
                request(token=f"{TOKEN}{number}"), broker="b", wait=0.02, stands_still=True
            )
            at_once.append(isinstance(answer, Decision))
            decision = answer if isinstance(answer, Decision) else await answer
            assert decision.reason is DenyReason.INTROSPECTION_UNAVAILABLE
    assert at_once == [False, True, True, True, True]


async def test_who_was_not_waited_for_is_let_in_on_the_next_try(
    http: HttpServer, clock: Clock
) -> None:
    vouch(http)
    async with guarding(http, clock) as guard:
        first = guard.decide(request(token=TOKEN), broker="b")
        assert first.reason is DenyReason.INTROSPECTION_UNAVAILABLE
        await until(lambda: guard.decide(request(token=TOKEN), broker="b").allowed)
    assert http.count("/i") == 1


async def test_an_answer_counts_only_by_the_rules_that_were_asked_under(
    http: HttpServer, clock: Clock
) -> None:
    """The configuration is read again while a question is out: another audience counts now."""
    release = asyncio.Event()

    vouch(http, after=release)
    async with guarding(http, clock, timeout=30.0) as guard:
        connecting = asyncio.create_task(connect(guard))
        await until(lambda: http.count("/i") == 1)
        others = trusted(introspect="opaque", audiences=frozenset({"other"}))
        binding = asking(http, clock, others)
        assert binding.introspector is not None
        # As if the answer came in the last moment before the old introspector is closed.
        guard._answering.judge = guard._judge_of({ISSUER: binding})
        release.set()
        decision = await connecting
        await binding.introspector.aclose()
    assert decision.reason is DenyReason.INTROSPECTION_UNAVAILABLE

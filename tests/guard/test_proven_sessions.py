# SPDX-License-Identifier: Apache-2.0
"""A bound token comes with the proof that it asks for, and its session remembers which that was."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyfob.authorization.decision import Decision, DenyReason
from keyfob.authorization.policy import Policy
from keyfob.authorization.syntaxes.aif import Aif
from keyfob.guard.audit import AuditLog
from keyfob.guard.database import Database
from keyfob.guard.exchanges.ace import AceMethod
from keyfob.guard.exchanges.dpop import DpopMethod
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.introspection_answers import Active
from keyfob.guard.reasking import Reasking
from keyfob.guard.renewal import Renewal
from keyfob.guard.session import End, EndCause, SessionState
from keyfob.guard.sessions import SessionStore
from keyfob.tokens.verify import unverified, verify_introspected
from tests.guard.exchanges.proving import context, shown
from tests.guard.test_guard_introspection import JSON, SCOPE, TOKEN, asking
from tests.guard.world import (
    ISSUER,
    NOW,
    Clock,
    EventList,
    HttpServer,
    guard,
    mint,
    record,
    request,
    session,
    trusted,
)
from tests.prover import DeviceKey, ace_answer, ace_token, b64, dpop_proof

pytestmark = pytest.mark.anyio

KEY = DeviceKey.generate()
SECRET = bytes(range(100, 132))
SYMMETRIC = {"kty": "oct", "kid": "k1", "alg": "HS256", "k": b64(SECRET)}
CERTIFICATE = bytes(32)
RS_NONCE, NONCE = context().server_nonce[:8], b64(context().server_nonce[:18]).encode()


def by_ace(token: str, key: DeviceKey = KEY) -> Any:
    return shown(AceMethod(), ace_token(token), ace_answer(key, RS_NONCE)).proof


def by_dpop(token: str, key: DeviceKey = KEY) -> Any:
    return shown(DpopMethod(), token.encode(), dpop_proof(key, token, NONCE)).proof


def decided(keeper: Guard, token: str, **changes: Any) -> Decision:
    return keeper.decide(request(token=token, **changes), broker="b1")


async def test_each_binding_is_proven_in_its_own_way_and_in_no_other() -> None:
    """No downgrade: without its proof, or with another kind, a bound token lets nobody in."""
    keeper = guard()
    bearer = mint()
    in_it, by_thumbprint = mint(cnf={"jwk": KEY.jwk}), mint(cnf={"jkt": KEY.jkt})
    by_certificate = mint(cnf={"x5t#S256": b64(CERTIFICATE)})
    ways: dict[str, Callable[[str], dict[str, Any]]] = {
        "none": lambda _: {},
        "certificate": lambda _: {"certificate_thumbprint": CERTIFICATE},
        "ace": lambda token: {"proof": by_ace(token)},
        "dpop": lambda token: {"proof": by_dpop(token)},
        "ace and certificate": lambda token: {
            "proof": by_ace(token),
            "certificate_thumbprint": CERTIFICATE,
        },
    }
    good = {
        bearer: {"none", "certificate"},
        in_it: {"ace", "ace and certificate"},
        by_thumbprint: {"dpop"},
        by_certificate: {"certificate"},
    }
    for token, fitting in good.items():
        for way, proof in ways.items():
            decision = decided(keeper, token, **proof(token))
            assert decision.allowed == (way in fitting), way
            if way not in fitting:
                assert decision.reason is DenyReason.CONFIRMATION_UNPROVEN


async def test_what_one_connection_proved_is_asked_for_again_on_the_next() -> None:
    keeper = guard()
    token = mint(cnf={"jwk": KEY.jwk})
    assert decided(keeper, token, proof=by_ace(token)).allowed
    assert decided(keeper, token).reason is DenyReason.CONFIRMATION_UNPROVEN
    other = by_ace(token, DeviceKey.generate())
    assert decided(keeper, token, proof=other).reason is DenyReason.CONFIRMATION_UNPROVEN


@pytest.mark.parametrize(
    ("cnf", "prove", "name"),
    [
        ({"jwk": KEY.jwk}, by_ace, f"jwk:{KEY.jkt}"),
        ({"jkt": KEY.jkt}, by_dpop, f"jkt:{KEY.jkt}"),
    ],
)
async def test_a_session_is_decided_again_without_a_new_proof_after_a_restart_too(
    cnf: dict[str, Any], prove: Callable[[str], Any], name: str, tmp_path: Path
) -> None:
    token = mint(cnf=cnf)
    with Database.open(tmp_path / "guard.db") as database:
        keeper = guard(sessions=SessionStore(database))
        decision = decided(keeper, token, proof=prove(token))
        assert keeper.admitted("b1", "dev1", 7, decision) is None
        database.flush()
    with Database.open(tmp_path / "guard.db") as database:
        sessions = SessionStore(database)
        kept = sessions.get("b1", "dev1")
        assert kept is not None
        assert kept.proven == name
        again = await guard(sessions=sessions).reconsider()
        assert (again.kept, again.ended) == (1, 0)


async def test_a_session_of_an_older_file_or_of_a_plugin_is_not_dropped_for_what_is_not_known() -> (
    None
):
    sessions = SessionStore()
    payload = json.dumps({**claims_of(mint()), "cnf": {"jwk": KEY.jwk}}).encode()
    for proven in (None, "jwk"):
        sessions.put(session(payload=payload, proven=proven))
        assert (await guard(sessions=sessions).reconsider()).ended == 0
    sessions.put(session(payload=payload, proven="jkt"))
    assert (await guard(sessions=sessions).reconsider()).ended == 1


def claims_of(token: str) -> dict[str, Any]:
    return unverified(token)[1]


# Symmetric keys


class Asked:
    """A guard whose issuer tells the symmetric key of an opaque token."""

    def __init__(self, http: HttpServer, clock: Clock, **arguments: Any) -> None:
        self.binding = asking(http, clock, trusted(introspect="opaque"))
        assert self.binding.introspector is not None
        self.reasking: Reasking[tuple[str, str]] = Reasking(
            self.binding.introspector, 60.0, clock=clock, monotonic=clock
        )
        binding: IssuerBinding = replace(self.binding, reasking=self.reasking)
        self.guard = Guard({ISSUER: binding}, clock=clock, **arguments)

    async def connect(self, key: DeviceKey, token: str = TOKEN) -> Decision:
        asked = request(token=token, proof=by_ace(token, key))
        return await self.guard.connect(asked, broker="b1", deadline=30.0)

    async def close(self) -> None:
        assert self.binding.introspector is not None
        await self.binding.introspector.aclose()


def members(**changes: Any) -> dict[str, Any]:
    found = {"active": True, "sub": "dev1", "aud": "mqtt", "exp": NOW + 600, "scope": SCOPE}
    return {**found, "token_type": "PoP", "cnf": {"jwk": SYMMETRIC}, **changes}


async def test_a_symmetric_key_proves_and_is_in_no_file_log_or_audit(
    http: HttpServer, clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    heard = EventList()
    http.answer("/i", json.dumps(members()), headers=JSON)
    with Database.open(tmp_path / "guard.db") as database:
        sessions = SessionStore(database)
        house = Asked(http, clock, sessions=sessions, audit=AuditLog([heard]))
        good = await house.connect(DeviceKey(SECRET))
        assert good.allowed
        assert (await house.connect(DeviceKey(SECRET[::-1]))).reason is (
            DenyReason.CONFIRMATION_UNPROVEN
        )
        assert house.guard.admitted("b1", "dev1", 7, good) is None
        kept = sessions.get("b1", "dev1")
        assert kept is not None
        assert kept.proven == "oct:k1"
        assert (await house.guard.reconsider()).kept == 1
        recalled = house.guard.recall("b1", "dev1")
        database.flush()
    await house.close()
    told = (
        f"{heard.events!r}{caplog.text}{good!r}{good.steps!r}{kept!r}{kept.payload!r}{recalled!r}"
    )
    files = all_files(tmp_path)
    for secret in (b64(SECRET), SECRET.hex(), repr(SECRET)[2:-1]):
        assert secret not in told
        assert secret.encode() not in files
    assert SECRET not in files
    assert http.count("/i") == 1


async def test_an_issuer_that_is_asked_again_tells_the_key_and_nothing_of_it_is_kept(
    http: HttpServer, clock: Clock, tmp_path: Path
) -> None:
    http.answer("/i", json.dumps(members()), headers=JSON)
    with Database.open(tmp_path / "guard.db") as database:
        sessions = SessionStore(database)
        house = Asked(http, clock, sessions=sessions)
        decision = await house.connect(DeviceKey(SECRET))
        house.guard.admitted("b1", "dev1", 7, decision)
        told(house, members(scope="mqtt.connect"))
        kept = sessions.get("b1", "dev1")
        assert kept is not None
        assert (kept.state, kept.permissions.rules) == (SessionState.ONLINE, ())
        database.flush()
    await house.close()
    files = all_files(tmp_path)
    assert b64(SECRET).encode() not in files


@pytest.mark.parametrize(
    "cnf",
    [None, {"jwk": {**SYMMETRIC, "kid": "k2"}}, {"jwk": KEY.jwk}, {"jkt": KEY.jkt}, {"kid": "k1"}],
)
async def test_a_session_ends_whose_token_is_said_to_be_bound_otherwise(
    cnf: dict[str, Any] | None, http: HttpServer, clock: Clock
) -> None:
    http.answer("/i", json.dumps(members()), headers=JSON)
    sessions = SessionStore()
    house = Asked(http, clock, sessions=sessions)
    ended: list[Any] = []
    house.guard.subscribe(ended.append)
    house.guard.admitted("b1", "dev1", 7, await house.connect(DeviceKey(SECRET)))
    answer = members(cnf=cnf, token_type="Bearer")
    told(house, {name: value for name, value in answer.items() if value is not None})
    await house.close()
    assert ended == [End(broker="b1", client_id="dev1", epoch=7, cause=EndCause.REVOKED)]


def all_files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def told(house: Asked, answer: dict[str, Any]) -> None:
    """Have the issuer say this of the session's token, asked again."""
    found = {name: value for name, value in answer.items() if name != "active"}
    token = verify_introspected(found, trusted(introspect="opaque"), NOW)
    house.guard._live.told(("b1", "dev1"), Active(token=token, presented=None), 30.0)


async def test_a_key_that_is_only_named_proves_nothing_and_the_operator_hears_why(
    http: HttpServer, clock: Clock
) -> None:
    http.answer("/i", json.dumps(members(cnf={"kid": "k1"})), headers=JSON)
    house = Asked(http, clock)
    decision = await house.connect(DeviceKey(SECRET))
    await house.close()
    assert decision.reason is DenyReason.CONFIRMATION_UNPROVEN
    assert "may this guard have the key?" in decision.detail


@pytest.mark.parametrize(
    ("first", "second", "goes_on"),
    [
        ("jwk:a", {"jwk": KEY.jwk}, True),
        ("oct:a", {"jwk": KEY.jwk}, True),
        ("", {"jwk": KEY.jwk}, False),
        ("jkt:a", {"jwk": KEY.jwk}, False),
        ("jwk:a", None, False),
        ("x5t#S256:a", None, False),
        ("", None, True),
        (None, None, True),
    ],
)
async def test_a_connection_goes_on_only_with_a_token_that_is_bound_in_the_same_way(
    first: str | None, second: dict[str, Any] | None, goes_on: bool
) -> None:
    sessions = SessionStore()
    sessions.put(session(proven=first))
    token = mint(cnf=second)
    decision = decided(guard(), token, proof=None if second is None else by_ace(token))
    assert decision.allowed
    renewal = Renewal(sessions=sessions, broker="b1", client_id="dev1", epoch=1)
    held = renewal.held(decision)
    assert held.allowed is goes_on
    assert held.reason is (None if goes_on else DenyReason.CONFIRMATION_UNPROVEN)


async def test_a_scope_of_aif_says_what_a_client_that_has_proven_its_key_may_do() -> None:
    """RFC 9431 section 2.3: the scope is the base64url of a JSON array, and nothing beside it."""
    scope = b64(b'[["up/dev1",["pub"]],["down/#",["sub"]]]')
    token = mint(scope=scope, cnf={"jwk": KEY.jwk})
    issuer = trusted(required_scopes=frozenset())
    keeper = guard(issuer=issuer, policy=Policy(rights=(Aif(),)))
    decision = decided(keeper, token, proof=by_ace(token))
    assert decision.allowed
    filters = [str(rule.filter) for rule in decision.permissions.rules]
    assert filters == ["up/dev1", "down/#"]


@pytest.mark.parametrize(("token_id", "proven"), [("jti-dev1", "jwk:a"), ("another", "jwk")])
async def test_what_was_proven_stays_known_when_the_plugin_tells_of_the_same_token(
    token_id: str, proven: str | None
) -> None:
    """Of another one it tells the kind of key, by which no session is dropped."""
    sessions = SessionStore()
    sessions.put(session(proven="jwk:a"))
    link = guard(sessions=sessions).begin_link("b1", b"another run")
    link.record(record(epoch=9, token_id=token_id, proven="jwk"))
    link.finish()
    kept = sessions.get("b1", "dev1")
    assert kept is not None
    assert (kept.epoch, kept.proven) == (9, proven)

# SPDX-License-Identifier: Apache-2.0
"""Every way in is guarded, and every refusal says which guard it was."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from typing import Any

import pytest

from keyfob.authorization.decision import ConnectRequest, Decision, DenyReason
from keyfob.authorization.policy import Policy, PolicyRule
from keyfob.guard.guard import Guard, IssuerBinding
from keyfob.guard.key_sources import StaticKeySource
from keyfob.guard.reservations import HOLD
from keyfob.guard.revocations import Revocation
from keyfob.guard.session import SessionState
from keyfob.guard.sessions import SessionStore
from keyfob.mqtt.reason_codes import ReasonCode
from keyfob.mqtt.topics import TopicName
from tests.guard.world import (
    ISSUER,
    KEY,
    NOW,
    OTHER_KEY,
    Clock,
    guard,
    key_set,
    mint,
    request,
    session,
    trusted,
)

pytestmark = pytest.mark.anyio

VERIFIED = ("issuer", "key", "audience", "time", "scope")
SECOND = "https://second.example"
THUMBPRINT = hashlib.sha256(b"certificate").digest()
BOUND = {"x5t#S256": base64.urlsafe_b64encode(THUMBPRINT).rstrip(b"=").decode()}


def second(**changes: Any) -> IssuerBinding:
    issuer = trusted(**{"name": "second", "issuer": SECOND, **changes})
    return IssuerBinding(trusted=issuer, keys=StaticKeySource(key_set(OTHER_KEY)), policy=Policy())


def of_second(device: str = "dev1", **claims: Any) -> str:
    return mint(device, key=OTHER_KEY, iss=SECOND, **claims)


def forged(**header: Any) -> str:
    """A good token under another header, its signature now wrong."""
    _, payload, signature = mint().split(".")
    members = {"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt", **header}
    encoded = base64.urlsafe_b64encode(json.dumps(members).encode()).rstrip(b"=").decode()
    return f"{encoded}.{payload}.{signature}"


def refused(decision: Decision) -> DenyReason | None:
    assert not decision.allowed
    assert decision.permissions.rules == ()
    return decision.reason


# Accepted


@pytest.mark.parametrize(
    "fields",
    [
        {"username": b"dev1", "password": mint().encode()},
        {"username": mint().encode(), "password": b""},
        {"username": mint().encode(), "password": None},
        {"username": None, "password": mint().encode()},
    ],
)
async def test_a_good_token_comes_in_by_either_field(fields: dict[str, Any]) -> None:
    decision = guard().decide(ConnectRequest(client_id="dev1", **fields))
    assert decision.allowed
    assert (decision.principal, decision.issuer, decision.subject) == ("dev1", ISSUER, "dev1")
    assert decision.token_id == "jti-dev1"
    assert decision.expires_at == int(NOW) + 3600
    assert decision.permissions.publish(TopicName.parse("up/x")).allowed
    assert not decision.permissions.publish(TopicName.parse("down/x")).allowed


async def test_with_several_issuers_the_principal_names_its_issuer() -> None:
    keeper = guard(more=[second()])
    assert keeper.decide(request()).principal == "example:dev1"
    assert keeper.decide(request("dev2", of_second("dev2"))).principal == "second:dev2"


async def test_the_expiry_leeway_counts_for_the_end_as_for_the_beginning() -> None:
    clock = Clock(NOW + 3605)
    keeper = guard(clock=clock, issuer=trusted(expiry_leeway=10))
    assert keeper.decide(request()).expires_at == NOW + 3610
    clock.now = NOW + 3610
    assert refused(keeper.decide(request())) is DenyReason.TOKEN_EXPIRED


# Refused: what a device can do wrong


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("garbage", DenyReason.TOKEN_MALFORMED),
        ("a.b.c", DenyReason.TOKEN_MALFORMED),
        ("x" * 65_535, DenyReason.TOKEN_TOO_LONG),
        (forged() + ".a.b", DenyReason.TOKEN_ENCRYPTED),
        (forged(typ="JWT"), DenyReason.TYPE_REFUSED),
        (forged(alg="none"), DenyReason.ALGORITHM_REFUSED),
        (forged(alg="HS256"), DenyReason.ALGORITHM_REFUSED),
        (forged(crit=["exp"]), DenyReason.CRITICAL_HEADER_REFUSED),
        (forged(jku="https://evil.example"), DenyReason.SIGNATURE_INVALID),
        (mint(key=OTHER_KEY), DenyReason.KEY_UNKNOWN),
        (mint(iss="https://evil.example"), DenyReason.ISSUER_UNKNOWN),
        (mint(iss=ISSUER + "/"), DenyReason.ISSUER_UNKNOWN),
        (mint(typ="JWT"), DenyReason.TYPE_REFUSED),
        (mint(typ="secevent+jwt"), DenyReason.TYPE_REFUSED),
        (mint(aud="other"), DenyReason.AUDIENCE_MISMATCH),
        (mint(exp=int(NOW)), DenyReason.TOKEN_EXPIRED),
        (mint(nbf=int(NOW) + 61), DenyReason.TOKEN_NOT_YET_VALID),
        (mint(exp=None), DenyReason.CLAIM_MISSING),
        (mint(sub=""), DenyReason.CLAIM_INVALID),
        (mint(sub="dev1\x00"), DenyReason.CLAIM_INVALID),
        (mint(scope="mqtt.publish:a"), DenyReason.SCOPE_MISSING),
        (mint(cnf=BOUND), DenyReason.CONFIRMATION_UNPROVEN),
        (mint(cnf={"jkt": "x"}), DenyReason.CONFIRMATION_UNPROVEN),
    ],
)
async def test_a_bad_token_is_refused_for_what_is_wrong_with_it(
    token: str, reason: DenyReason
) -> None:
    decision = guard().decide(request(token=token))
    assert refused(decision) is reason
    assert decision.reason_code is reason.reason_code
    assert token not in repr(decision)
    assert all(token not in step.detail for step in decision.steps)


@pytest.mark.attack("J8", "duplicate_member")
async def test_a_repeated_member_is_refused() -> None:
    header, payload, signature = mint().split(".")
    text = base64.urlsafe_b64decode(payload + "==").replace(b"{", b'{"exp":9999999999,', 1)
    doubled = base64.urlsafe_b64encode(text).rstrip(b"=").decode()
    decision = guard().decide(request(token=f"{header}.{doubled}.{signature}"))
    assert refused(decision) is DenyReason.DUPLICATE_MEMBER


async def test_a_key_that_the_issuer_publishes_for_another_use_is_refused() -> None:
    jwk = {**KEY.public_jwk(), "use": "enc"}
    keys = StaticKeySource(type(key_set()).from_jwks({"keys": [jwk]}))
    assert refused(guard(keys=keys).decide(request())) is DenyReason.KEY_REFUSED


async def test_a_token_that_lives_too_long_is_refused() -> None:
    keeper = guard(issuer=trusted(max_lifetime=600))
    assert refused(keeper.decide(request())) is DenyReason.LIFETIME_TOO_LONG


async def test_nothing_at_all_is_missing_credentials() -> None:
    decision = guard().decide(ConnectRequest(client_id="dev1"))
    assert refused(decision) is DenyReason.CREDENTIALS_MISSING
    assert [step.check for step in decision.steps] == ["credentials"]


async def test_tokens_in_both_fields_are_refused() -> None:
    decision = guard().decide(request(username=mint().encode()))
    assert refused(decision) is DenyReason.CREDENTIALS_AMBIGUOUS


@pytest.mark.attack("J19", "enhanced_authentication_unsupported")
async def test_enhanced_authentication_is_refused_as_unsupported() -> None:
    asked = request(authentication_method="K-TOKEN", authentication_data=mint().encode())
    decision = guard().decide(asked)
    assert refused(decision) is DenyReason.ENHANCED_AUTHENTICATION_UNSUPPORTED
    assert decision.reason_code is ReasonCode.BAD_AUTHENTICATION_METHOD


@pytest.mark.attack("J18", "confirmation_unproven")
async def test_a_certificate_proves_a_bound_token() -> None:
    keeper = guard()
    token = mint(cnf=BOUND)
    assert keeper.decide(request(token=token, certificate_thumbprint=THUMBPRINT)).allowed
    # J18: that it was accepted once, with the certificate, does not make it a bearer token.
    assert refused(keeper.decide(request(token=token))) is DenyReason.CONFIRMATION_UNPROVEN
    other = request(token=token, certificate_thumbprint=bytes(32))
    assert refused(keeper.decide(other)) is DenyReason.CONFIRMATION_UNPROVEN


async def test_another_devices_identifier_is_refused() -> None:
    decision = guard().decide(request("dev2", mint("dev1")))
    assert refused(decision) is DenyReason.CLIENT_ID_MISMATCH
    assert decision.reason_code is ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
    assert "'dev1'" in decision.detail


async def test_a_template_lets_a_device_hold_several_connections_and_no_other_devices() -> None:
    keeper = guard(issuer=trusted(client_id_template="{device}-*"))
    assert keeper.decide(request("dev1-app", mint("dev1"))).allowed
    for client_id in ("dev1", "dev1-", "dev11-app", "dev2-app"):
        decision = keeper.decide(request(client_id, mint("dev1")))
        assert refused(decision) is DenyReason.CLIENT_ID_MISMATCH
    tricky = keeper.decide(request("dev-1-app", mint("dev-1")))
    assert refused(tricky) is DenyReason.CLIENT_ID_MISMATCH


async def test_the_device_claim_names_the_device_not_the_subject() -> None:
    keeper = guard(issuer=trusted(device_claim="azp"))
    token = mint("user", azp="dev1")
    assert keeper.decide(request("dev1", token)).allowed
    assert refused(keeper.decide(request("user", token))) is DenyReason.CLIENT_ID_MISMATCH


@pytest.mark.parametrize("client_id", ["", "auto-1234"])
async def test_an_identifier_may_be_left_to_the_broker(client_id: str) -> None:
    asked = request(client_id, mint("dev1"), assigned=bool(client_id), protocol_version=4)
    decision = guard().decide(asked)
    assert decision.allowed
    assert decision.principal == "dev1"


@pytest.mark.parametrize("client_id", ["", "auto-1234"])
async def test_an_identifier_left_to_the_broker_wants_a_clean_session(client_id: str) -> None:
    asked = request(client_id, mint("dev1"), assigned=bool(client_id), clean=False)
    assert refused(guard().decide(asked)) is DenyReason.CLIENT_ID_REFUSED


@pytest.mark.parametrize("client_id", ["", "auto-1234"])
async def test_identifiers_left_to_the_broker_may_be_refused(client_id: str) -> None:
    asked = request(client_id, mint("dev1"), assigned=bool(client_id))
    decision = guard(empty_client_id="refuse").decide(asked)
    assert refused(decision) is DenyReason.CLIENT_ID_REFUSED


# Refused: whose session it is


@pytest.mark.parametrize("state", SessionState)
async def test_a_session_is_never_handed_to_somebody_else(state: SessionState) -> None:
    """Live, stored or revoked: not to another subject, nor to the same name of another issuer."""
    sessions = SessionStore()
    sessions.put(session("dev1", state=state))
    keeper = guard(sessions=sessions, more=[second()])
    decision = keeper.decide(request("dev1", of_second("dev1")), broker="b1")
    assert refused(decision) is DenyReason.SESSION_OWNED_BY_ANOTHER
    assert keeper.decide(request("dev1", of_second("dev1")), broker="b2").allowed
    assert keeper.decide(request("dev1", mint("dev1")), broker="b1").allowed


async def test_an_assigned_identifier_is_no_way_into_a_session() -> None:
    sessions = SessionStore()
    sessions.put(session("auto-1", subject="dev2"))
    decision = guard(sessions=sessions).decide(
        request("auto-1", mint("dev1"), assigned=True), broker="b1"
    )
    assert refused(decision) is DenyReason.SESSION_OWNED_BY_ANOTHER


async def test_an_identifier_is_held_between_decision_and_admission() -> None:
    """Two whose templates both allow it cannot both be let in."""
    clock = Clock()
    keeper = guard(clock=clock, more=[second()])
    assert keeper.decide(request("dev1"), broker="b1").allowed
    rival = request("dev1", of_second("dev1"))
    decision = keeper.decide(rival, broker="b1")
    assert refused(decision) is DenyReason.SESSION_OWNED_BY_ANOTHER
    clock.now += HOLD
    assert keeper.decide(rival, broker="b1").allowed


async def test_a_refused_client_holds_nothing() -> None:
    keeper = guard(more=[second()])
    expired = request("dev1", mint(exp=int(NOW)))
    assert not keeper.decide(expired, broker="b1").allowed
    assert keeper.decide(request("dev1", of_second("dev1")), broker="b1").allowed


# Refused: what happened meanwhile


async def test_a_revoked_token_is_refused_also_when_it_was_accepted_before() -> None:
    keeper = guard()
    assert keeper.decide(request()).allowed
    await keeper.revoke(
        Revocation(
            issuer=ISSUER,
            subject="dev1",
            issued_before=NOW - 10,
            until=NOW + 3600,
            reason="disabled",
        )
    )
    decision = keeper.decide(request())
    assert refused(decision) is DenyReason.TOKEN_REVOKED
    assert "disabled" in decision.detail
    newer = keeper.decide(request(token=mint(iat=int(NOW) - 9)))
    assert newer.allowed


async def test_a_token_accepted_before_is_refused_when_it_has_expired() -> None:
    clock = Clock()
    keeper = guard(clock=clock)
    assert keeper.decide(request()).allowed
    clock.now = NOW + 3600
    assert refused(keeper.decide(request())) is DenyReason.TOKEN_EXPIRED


async def test_a_clock_stepped_back_makes_a_token_be_looked_at_anew() -> None:
    clock = Clock()
    keeper = guard(clock=clock)
    assert keeper.decide(request()).allowed
    clock.now = NOW - 1000
    assert refused(keeper.decide(request())) is DenyReason.TOKEN_NOT_YET_VALID


# Refused: what a token may not ask for


async def test_permissions_that_no_broker_can_hold_are_refused() -> None:
    row = PolicyRule(
        kind="scope", value="mqtt.connect", publish=tuple(f"a/{n}" for n in range(4097))
    )
    decision = guard(policy=Policy(rules=(row,))).decide(request())
    assert refused(decision) is DenyReason.PERMISSIONS_INVALID


# Told


async def test_an_accepted_token_tells_every_check_and_its_rules() -> None:
    decision = guard().decide(request())
    checks = [step.check for step in decision.steps]
    assert checks[:12] == [
        "credentials",
        "token",
        *VERIFIED,
        "confirmation",
        "revocation",
        "device",
        "session",
        "permissions",
    ]
    assert len(checks) == 14
    assert all(step.ok for step in decision.steps)


async def test_a_refusal_tells_the_checks_before_it_and_none_after() -> None:
    decision = guard().decide(request("dev2", mint("dev1")))
    told = [(step.check, step.ok) for step in decision.steps]
    assert told == [
        ("credentials", True),
        ("token", True),
        *[(check, True) for check in VERIFIED],
        ("confirmation", True),
        ("revocation", True),
        ("device", False),
    ]


async def test_a_hypothetical_question_leaves_no_trace() -> None:
    keeper = guard(more=[second()])
    assert keeper.decide(request("dev1"), broker="b1", explain=True).allowed
    answer = await keeper.connect(request("dev1"), broker="b1", explain=True)
    assert answer.allowed
    assert keeper.decide(request("dev1", of_second("dev1")), broker="b1").allowed


def test_a_guard_can_be_made_outside_an_event_loop() -> None:
    keeper: Guard = guard()
    assert asyncio.run(keeper.connect(request())).allowed


async def test_a_revoked_client_is_found_where_only_azp_names_it() -> None:
    """An issuer's event names a client; its tokens have no ``client_id``."""
    rules = trusted(device_claim="azp", types=frozenset({"JWT"}))
    keeper = guard(issuer=rules)
    token = mint("user-7", typ="JWT", client_id=None, azp="dev1")
    decision = keeper.decide(request("dev1", token), broker="b1")
    assert keeper.admitted("b1", "dev1", 1, decision) is None
    revocation = Revocation(issuer=ISSUER, client_id="dev1", issued_before=NOW, until=NOW + 9999)
    assert len(await keeper.revoke(revocation)) == 1
    assert keeper.decide(request("dev1", token)).reason is DenyReason.TOKEN_REVOKED

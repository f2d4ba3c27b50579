# SPDX-License-Identifier: Apache-2.0
"""Security event tokens are held to their own rules, and nothing else passes for one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keyfob.errors import ConfigError, TokenError
from keyfob.tokens.keys import KeySet
from keyfob.tokens.security_events import (
    MAX_EVENTS,
    EventClaims,
    EventType,
    SecurityEventToken,
    verify_event_token,
)
from keyfob.tokens.sign import SigningKey
from keyfob.tokens.subject_identifiers import IssuerSubject, OpaqueId
from keyfob.tokens.verify import NeedKeys, TrustedIssuer, VerifiedToken

ISSUER = "https://as.example"
NOW = 1_790_000_000.0
AUDIENCE = "https://guard.example/events"
ISS_SUB = {"format": "iss_sub", "iss": ISSUER, "sub": "dev1"}

Forge = Callable[..., str]
Members = dict[str, Any]


@pytest.fixture
def event_claims() -> Members:
    """What a good SET says: CAEP's session-revoked of one device."""
    return {
        "iss": ISSUER,
        "jti": "24c63fb56e5a2d77a6b512616ca9fa24",
        "iat": int(NOW) - 5,
        "aud": AUDIENCE,
        "txn": 8675309,
        "sub_id": ISS_SUB,
        "events": {
            EventType.SESSION_REVOKED: {
                "event_timestamp": int(NOW) - 10,
                "initiating_entity": "policy",
                "reason_admin": {"en": "Landspeed policy violation"},
            }
        },
    }


@pytest.fixture
def receive(issuer: TrustedIssuer, key_set: KeySet) -> Callable[..., Any]:
    def make(
        token: str | bytes,
        *,
        issuer: TrustedIssuer = issuer,
        keys: KeySet | None = key_set,
        now: float = NOW,
    ) -> SecurityEventToken | NeedKeys:
        at_hand = {} if keys is None else {issuer.issuer: keys}
        audiences = {issuer.issuer: AUDIENCE}
        return verify_event_token(token, {issuer.issuer: issuer}, audiences, at_hand, now)

    return make


@pytest.fixture
def event_token(forge: Forge) -> Callable[..., str]:
    def make(claims: Members, **header: Any) -> str:
        return forge(claims, {"typ": "secevent+jwt", **header})

    return make


@pytest.fixture
def not_received(receive: Callable[..., Any]) -> Callable[..., str]:
    """Receive what must be refused; the answer is the error's code, its message no segment."""

    def make(token: str, **trust: Any) -> str:
        with pytest.raises(TokenError) as caught:
            receive(token, **trust)
        assert not any(part in str(caught.value) for part in token.split(".") if len(part) > 8)
        return caught.value.code

    return make


def test_a_good_one_tells_whom_what_and_when(
    event_claims: Members,
    event_token: Forge,
    receive: Callable[..., Any],
    issuer: TrustedIssuer,
    signing_key: SigningKey,
) -> None:
    received = receive(event_token(event_claims))
    assert isinstance(received, SecurityEventToken)
    assert (received.issuer, received.key_id) == (issuer, signing_key.kid)
    assert received.claims.token_id == "24c63fb56e5a2d77a6b512616ca9fa24"
    (event,) = received.claims.events
    assert (event.type, event.happened_at) == (EventType.SESSION_REVOKED, NOW - 10)
    assert event.subject is not None
    assert dict(event.subject.members) == {"": (IssuerSubject(issuer=ISSUER, subject="dev1"),)}


def test_without_a_timestamp_it_happened_when_it_was_said(
    event_claims: Members, event_token: Forge, receive: Callable[..., Any]
) -> None:
    event_claims["events"] = {EventType.TOKEN_CLAIMS_CHANGE: {"claims": {"role": "none"}}}
    (event,) = receive(event_token(event_claims)).claims.events
    assert (event.type, event.happened_at) == (EventType.TOKEN_CLAIMS_CHANGE, NOW - 5)


def test_a_subject_within_the_event_is_the_events_own(
    event_claims: Members, event_token: Forge, receive: Callable[..., Any]
) -> None:
    payload = event_claims["events"][EventType.SESSION_REVOKED]
    payload["subject"] = {"format": "opaque", "id": "other"}
    for common in (ISS_SUB, None):
        event_claims["sub_id"] = common
        given = {name: value for name, value in event_claims.items() if value is not None}
        (event,) = receive(event_token(given)).claims.events
        assert dict(event.subject.members) == {"": (OpaqueId(id="other"),)}


@pytest.mark.parametrize(
    "change",
    [
        {"aud": [AUDIENCE, "https://other.example"]},
        {"exp": int(NOW) - 1_000},
        {"exp": "never"},
        {"iat": NOW - 0.5},
        {"iat": int(NOW) + 59},
        {"iat": 0},
        {"toe": 1, "unknown": {"deep": [1]}},
        {"events": {"https://of.tomorrow.example/event": {"subject": 1}}},
        {"events": {EventType.VERIFICATION: {"state": "VGhpcyBpcyBhbiBleGFtcGxl"}}},
        {
            "events": {EventType.VERIFICATION: {}},
            "sub_id": {"format": "opaque", "id": "f67e39a0a4d34d56b3aa1bc4cff0069f"},
        },
    ],
)
def test_the_neighbours_of_a_good_one_are_accepted(
    change: Members, event_claims: Members, event_token: Forge, receive: Callable[..., Any]
) -> None:
    assert isinstance(receive(event_token({**event_claims, **change})), SecurityEventToken)


def test_an_event_that_means_nothing_here_needs_no_subject(
    event_claims: Members, event_token: Forge, receive: Callable[..., Any]
) -> None:
    del event_claims["sub_id"]
    event_claims["events"] = {EventType.VERIFICATION: {}, "urn:other": {}}
    events = receive(event_token(event_claims)).claims.events
    assert [event.subject for event in events] == [None, None]


@pytest.mark.parametrize("name", ["iss", "aud", "jti", "iat", "events", "sub_id"])
def test_what_is_required_is_missed(
    name: str, event_claims: Members, event_token: Forge, not_received: Callable[..., str]
) -> None:
    del event_claims[name]
    code = "issuer_unknown" if name == "iss" else "claim_missing"
    assert not_received(event_token(event_claims)) == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"iss": "https://elsewhere.example"}, "issuer_unknown"),
        ({"iss": [ISSUER]}, "issuer_unknown"),
        ({"aud": "mqtt"}, "audience_mismatch"),
        ({"aud": []}, "audience_mismatch"),
        ({"aud": AUDIENCE + "/"}, "audience_mismatch"),
        ({"aud": 1}, "claim_invalid"),
        ({"jti": ""}, "claim_invalid"),
        ({"jti": 1}, "claim_invalid"),
        ({"jti": "x" * 1025}, "claim_invalid"),
        ({"iat": "1"}, "claim_invalid"),
        ({"iat": True}, "claim_invalid"),
        ({"iat": -1}, "claim_invalid"),
        ({"iat": int(NOW) + 61}, "token_not_yet_valid"),
        ({"iat": int(NOW) * 1000}, "token_not_yet_valid"),
        ({"sub": "dev1"}, "claim_invalid"),
        ({"sub_id": "dev1"}, "claim_invalid"),
        ({"sub_id": {"format": "iss_sub"}}, "claim_invalid"),
        ({"events": {}}, "claim_invalid"),
        ({"events": []}, "claim_invalid"),
        ({"events": EventType.SESSION_REVOKED}, "claim_invalid"),
        ({"events": {EventType.SESSION_REVOKED: None}}, "claim_invalid"),
        ({"events": {"": {}}}, "claim_invalid"),
        ({"events": {"x" * 257: {}}}, "claim_invalid"),
        ({"events": {f"urn:{n}": {} for n in range(MAX_EVENTS + 1)}}, "claim_invalid"),
        ({"events": {EventType.SESSION_REVOKED: {"subject": "dev1"}}}, "claim_invalid"),
    ],
)
def test_what_is_there_and_wrong_is_refused(
    change: Members,
    code: str,
    event_claims: Members,
    event_token: Forge,
    not_received: Callable[..., str],
) -> None:
    assert not_received(event_token({**event_claims, **change})) == code


@pytest.mark.parametrize("timestamp", ["1", None, True, -1, int(NOW) + 61, int(NOW) * 1000, {}])
def test_a_time_of_the_event_that_is_none_or_to_come_is_refused(
    timestamp: Any, event_claims: Members, event_token: Forge, not_received: Callable[..., str]
) -> None:
    event_claims["events"] = {EventType.SESSION_REVOKED: {"event_timestamp": timestamp}}
    assert not_received(event_token(event_claims)) == "claim_invalid"


@pytest.mark.parametrize(
    "payload",
    [
        '{"iss":"%s","iss":"%s"}',
        '{"iss":"%s","events":{"urn:x":{},"urn:x":{}},"x":"%s"}',
        '{"iss":"%s","sub_id":{"format":"opaque","id":"a","id":"a"},"x":"%s"}',
    ],
)
def test_a_member_that_stands_twice_is_refused_at_every_depth(
    payload: str, forge: Forge, not_received: Callable[..., str]
) -> None:
    token = forge((payload % (ISSUER, ISSUER)).encode(), {"typ": "secevent+jwt"})
    assert not_received(token) == "duplicate_member"


def test_without_the_key_it_is_asked_for(
    event_claims: Members,
    event_token: Forge,
    receive: Callable[..., Any],
    key_set: KeySet,
    issuer: TrustedIssuer,
) -> None:
    token = event_token(event_claims)
    assert receive(token, keys=None).loaded is False
    other = KeySet.from_jwks({"keys": [SigningKey.generate().public_jwk()]})
    need = receive(token, keys=other)
    assert (need.issuer, need.loaded) == (issuer, True)


def test_a_signature_of_anybody_else_is_refused(
    event_claims: Members, forge: Forge, not_received: Callable[..., str]
) -> None:
    header = {"typ": "secevent+jwt"}
    stranger = SigningKey.generate()
    assert not_received(forge(event_claims, header, sign=stranger.signature)) == "signature_invalid"
    assert not_received(forge(event_claims, {**header, "alg": "none"})) == "algorithm_refused"
    assert not_received(forge(event_claims, {**header, "crit": ["b64"]})) == (
        "critical_header_refused"
    )


def test_nobody_else_makes_a_verified_one(issuer: TrustedIssuer, event_claims: Members) -> None:
    claims = EventClaims.parse(event_claims)
    with pytest.raises(TypeError):
        SecurityEventToken(issuer=issuer, claims=claims, key_id="k", seal=object())


# --- J14: one kind of JWT is never another ---

OTHER_KINDS = [
    "at+jwt",
    "application/at+jwt",
    "JWT",
    "",
    None,
    "id_token+jwt",
    "logout+jwt",
    "dpop+jwt",
    "client-authentication+jwt",
    "token-introspection+jwt",
    "statuslist+jwt",
    "oauth-authz-req+jwt",
    "kb+jwt",
    "dc+sd-jwt",
    "risc+jwt",
    "secevent+jwt+x",
    "x/secevent+jwt",
]


@pytest.mark.parametrize("typ", OTHER_KINDS)
def test_no_other_kind_of_jwt_is_a_security_event(
    typ: str | None,
    event_claims: Members,
    claims: Members,
    event_token: Forge,
    not_received: Callable[..., str],
) -> None:
    """Signed by the issuer's own key, and with everything that a SET says."""
    everything = {**claims, **event_claims}
    assert not_received(event_token(everything, typ=typ)) == "type_refused"


@pytest.mark.parametrize("typ", ["secevent+jwt", "application/secevent+jwt", "SecEvent+JWT"])
def test_the_type_is_compared_as_a_media_type(
    typ: str, event_claims: Members, event_token: Forge, receive: Callable[..., Any]
) -> None:
    assert isinstance(receive(event_token(event_claims, typ=typ)), SecurityEventToken)


def test_an_access_token_is_no_security_event(
    claims: Members, forge: Forge, not_received: Callable[..., str]
) -> None:
    assert not_received(forge(claims)) == "type_refused"


@pytest.mark.parametrize("types", [{"at+jwt"}, {"JWT"}, {"JWT", ""}, {"at+jwt", "JWT", ""}])
@pytest.mark.parametrize("typ", ["secevent+jwt", "application/secevent+jwt", "SECEVENT+JWT"])
def test_a_security_event_is_no_access_token_however_relaxed_the_issuer_is(
    *,
    typ: str,
    types: set[str],
    claims: Members,
    event_claims: Members,
    event_token: Forge,
    issuer: TrustedIssuer,
    refused: Callable[..., str],
) -> None:
    """Even one that says everything that an access token says."""
    relaxed = replace(issuer, types=frozenset(types))
    everything = {**event_claims, **claims}
    assert refused(event_token(everything, typ=typ), issuer=relaxed) == "type_refused"


@pytest.mark.parametrize("typ", ["JWT", None])
def test_an_event_or_logout_token_without_its_type_is_no_access_token(
    *,
    typ: str | None,
    claims: Members,
    event_claims: Members,
    event_token: Forge,
    issuer: TrustedIssuer,
    refused: Callable[..., str],
    accepted: Callable[..., VerifiedToken],
) -> None:
    relaxed = replace(issuer, types=frozenset({"JWT", ""}))
    logout: Members = {"http://schemas.openid.net/event/backchannel-logout": {}}
    for events in (event_claims["events"], logout, {}, None, "x"):
        token = event_token({**claims, "events": events}, typ=typ)
        assert refused(token, issuer=relaxed) == "type_refused"
    accepted(event_token(claims, typ=typ), issuer=relaxed)


def test_no_issuer_can_be_told_to_take_them_for_access_tokens(issuer: TrustedIssuer) -> None:
    for name in ("secevent+jwt", "application/SECEVENT+JWT"):
        with pytest.raises(ConfigError, match="never an access token"):
            replace(issuer, types=frozenset({"at+jwt", name}))


# --- whatever is signed ---

_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["iss", "aud", "jti", "iat", "events", "sub_id", "sub", "exp"]),
    value=_ANYTHING,
)
def test_whatever_a_trusted_issuer_signs_is_read_or_a_token_error(
    *,
    name: str,
    value: Any,
    event_claims: Members,
    event_token: Forge,
    receive: Callable[..., Any],
) -> None:
    try:
        received = receive(event_token({**event_claims, name: value}))
    except TokenError:
        return
    assert received.claims.events

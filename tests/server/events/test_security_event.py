# SPDX-License-Identifier: Apache-2.0
"""What a revocation says as a SET, read by our own guard and by the letter of the standards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey

from keyfob.guard.event_effects import effect_of
from keyfob.server.events.receiver import PendingEvent
from keyfob.server.events.security_event import claims_of, token_id_of
from keyfob.tokens.issuers import TrustedIssuer
from keyfob.tokens.keys import KeySet
from keyfob.tokens.security_events import SecurityEventToken, verify_event_token
from keyfob.tokens.sign import SigningKey

ISSUER = "https://as.example:8443"
AUDIENCE = "https://guard.example/events"
NOW = 1_800_000_100.0
KEY = SigningKey.generate()
EVENT = PendingEvent(
    number=7,
    subject="dev1",
    issued_before=1_800_000_090,
    until=1_800_090_000,
    reason="disabled",
    token_id=None,
    attempts=0,
)
SESSION_REVOKED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"


def claims(event: PendingEvent = EVENT, now: float = NOW) -> dict[str, Any]:
    return claims_of(event, issuer=ISSUER, audience=AUDIENCE, now=now)


def read(event: PendingEvent) -> Any:
    """Verify an event as a guard does, and return the revocations that it means there."""
    trusted = TrustedIssuer(
        name="keyfob",
        issuer=ISSUER,
        audiences=frozenset({"mqtt"}),
        algorithms=frozenset({"ES256"}),
        max_lifetime=86_400,
    )
    token = KEY.sign(claims(event), typ="secevent+jwt")
    keys = {ISSUER: KeySet.from_jwks({"keys": [KEY.public_jwk()]})}
    verified = verify_event_token(token, {ISSUER: trusted}, {ISSUER: AUDIENCE}, keys, NOW)
    assert isinstance(verified, SecurityEventToken)
    (one,) = verified.claims.events
    return effect_of(one, trusted, verified.claims.issued_at).revocations


def test_a_disabled_device_is_named_by_issuer_and_subject() -> None:
    assert claims() == {
        "iss": ISSUER,
        "jti": token_id_of(EVENT, ISSUER),
        "iat": int(NOW),
        "aud": AUDIENCE,
        "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": "dev1"},
        "events": {
            SESSION_REVOKED: {
                "event_timestamp": 1_800_000_090,
                "initiating_entity": "admin",
                "reason_admin": {"en": "disabled"},
            }
        },
    }


def test_a_guard_ends_the_devices_tokens_up_to_that_second_and_no_later_ones() -> None:
    (revocation,) = read(EVENT)
    assert (revocation.subject, revocation.issued_before) == ("dev1", 1_800_000_090)


def test_a_guard_ends_one_token_and_nothing_else_of_its_device() -> None:
    (revocation,) = read(replace(EVENT, token_id="abc", reason="revoked"))
    assert (revocation.token_id, revocation.subject) == ("abc", None)
    assert claims(replace(EVENT, token_id="abc"))["sub_id"]["device"]["sub"] == "dev1"


def test_it_is_a_signed_jwt_to_a_library_of_others_too() -> None:
    token = KEY.sign(claims(), typ="secevent+jwt")
    decoded = jwt.decode(token, ECKey.import_key(KEY.public_jwk()), algorithms=["ES256"])  # type: ignore[arg-type]
    assert decoded.header == {"alg": "ES256", "kid": KEY.kid, "typ": "secevent+jwt"}
    assert decoded.claims == claims()
    assert not {"sub", "exp"} & set(decoded.claims), "SSF: nobody takes it for an access token"


@given(
    st.builds(
        PendingEvent,
        number=st.integers(1, 2**63 - 1),
        subject=st.text(min_size=1, max_size=128),
        issued_before=st.integers(0, 2**40),
        until=st.integers(0, 2**40),
        reason=st.sampled_from(["disabled", "removed", "revoked"]),
        token_id=st.none() | st.text(min_size=1, max_size=64),
        attempts=st.integers(0, 100),
    ),
    st.floats(0, 2**40),
    st.integers(0, 100),
)
def test_an_event_has_one_name_whenever_it_is_sent(
    event: PendingEvent, now: float, attempts: int
) -> None:
    name = token_id_of(event, ISSUER)
    assert claims(event, now)["jti"] == name
    assert token_id_of(replace(event, attempts=attempts), ISSUER) == name
    assert len(name) == 43


@pytest.mark.parametrize(
    "change",
    [
        {"number": 8},
        {"subject": "dev2"},
        {"issued_before": 1_800_000_091},
        {"until": 1_800_090_001},
        {"token_id": "abc"},
    ],
)
def test_what_says_something_else_has_another_name(change: dict[str, Any]) -> None:
    """Also where a restored database gives the number out again."""
    assert token_id_of(replace(EVENT, **change), ISSUER) != token_id_of(EVENT, ISSUER)
    assert token_id_of(EVENT, "https://other.example") != token_id_of(EVENT, ISSUER)

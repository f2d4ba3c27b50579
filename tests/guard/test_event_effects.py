# SPDX-License-Identifier: Apache-2.0
"""What a security event revokes: all that it can mean, of the issuer that says so only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.guard.event_effects import effect_of
from keyfob.guard.revocations import Revocation
from keyfob.tokens.security_events import EventType, SecurityEvent
from keyfob.tokens.subject_identifiers import parse_subject
from tests.guard.world import ISSUER, NOW, trusted

LIFETIME = 3600
HAPPENED, SAID = NOW - 20, NOW - 10


def event(subject: Mapping[str, Any] | None, type_: str = EventType.SESSION_REVOKED) -> Any:
    parsed = None if subject is None else parse_subject(subject, "sub_id")
    return SecurityEvent(type=type_, subject=parsed, happened_at=HAPPENED)


def iss_sub(sub: str = "dev1", iss: str = ISSUER) -> dict[str, str]:
    return {"format": "iss_sub", "iss": iss, "sub": sub}


def opaque(name: str = "dev1") -> dict[str, str]:
    return {"format": "opaque", "id": name}


def jwt_id(jti: str = "jti-1", iss: str = ISSUER) -> dict[str, str]:
    return {"format": "jwt_id", "iss": iss, "jti": jti}


def revoked(subject: Mapping[str, Any], device_claim: str = "sub") -> set[tuple[Any, ...]]:
    issuer = trusted(max_lifetime=LIFETIME, device_claim=device_claim)
    effect = effect_of(event(subject), issuer, SAID)
    assert {each.issuer for each in effect.revocations} <= {ISSUER}
    return {(each.subject, each.client_id, each.token_id) for each in effect.revocations}


DEV1 = ("dev1", None, None)


@pytest.mark.parametrize(
    ("subject", "meant"),
    [
        (iss_sub(), {DEV1}),
        (opaque(), {DEV1}),
        (jwt_id(), {(None, None, "jti-1")}),
        (iss_sub(iss="https://elsewhere.example"), set()),
        (jwt_id(iss="https://elsewhere.example"), set()),
        ({"format": "email", "email": "dev1@example.com"}, set()),
        ({"format": "aliases", "identifiers": [iss_sub(), opaque("d"), iss_sub()]},
         {DEV1, ("d", None, None)}),
        ({"format": "complex", "user": iss_sub("jane")}, {("jane", None, None)}),
        ({"format": "complex", "device": iss_sub()}, {DEV1}),
        ({"format": "complex", "device": opaque()}, {DEV1}),
        ({"format": "complex", "user": iss_sub("jane"), "device": iss_sub(), "tenant": opaque("t")},
         {("jane", None, None), DEV1}),
        ({"format": "complex", "session": jwt_id(), "user": iss_sub("jane")},
         {(None, None, "jti-1")}),
        ({"format": "complex", "session": opaque("s"), "user": iss_sub("jane")},
         {("jane", None, None)}),
        ({"format": "complex", "session": jwt_id(iss="https://else.example"), "user": opaque("j")},
         {("j", None, None)}),
        ({"format": "complex", "tenant": opaque("t"), "group": opaque("g")}, set()),
        ({"format": "complex", "application": iss_sub("app")}, set()),
        ({"format": "complex", "device": jwt_id()}, set()),
    ],
)  # fmt: skip
def test_whom_an_event_means(subject: Mapping[str, Any], meant: set[Any]) -> None:
    assert revoked(subject) == meant


def test_a_device_is_the_client_where_the_tokens_say_so() -> None:
    subject = {"format": "complex", "device": opaque("dev1")}
    assert revoked(subject, "client_id") == {DEV1, (None, "dev1", None)}
    assert revoked(iss_sub(), "client_id") == {DEV1}


@pytest.mark.parametrize(
    ("type_", "word"),
    [
        (EventType.SESSION_REVOKED, "session-revoked"),
        (EventType.TOKEN_CLAIMS_CHANGE, "token-claims-change"),
    ],
)
def test_tokens_issued_until_then_are_meant_until_the_last_has_expired(
    type_: str, word: str
) -> None:
    effect = effect_of(event(iss_sub(), type_), trusted(max_lifetime=LIFETIME), SAID)
    assert effect.revocations == (
        Revocation(
            issuer=ISSUER,
            subject="dev1",
            issued_before=HAPPENED,
            until=SAID + LIFETIME,
            reason=word,
        ),
    )
    assert effect.revocations[0].reason == effect.event == word


def test_a_token_by_its_name_is_meant_whenever_it_was_issued() -> None:
    effect = effect_of(event(jwt_id()), trusted(max_lifetime=LIFETIME), SAID)
    assert [each.issued_before for each in effect.revocations] == [None]


@pytest.mark.parametrize(
    ("type_", "word"),
    [
        (EventType.VERIFICATION, "verification"),
        ("https://schemas.openid.net/secevent/caep/event-type/credential-change", None),
        ("urn:x\u202e", "'urn:x\\u202e'"),
        ("u" * 200, None),
    ],
)
def test_other_events_have_no_effect_and_are_named(type_: str, word: str | None) -> None:
    for subject in (iss_sub(), None):
        effect = effect_of(event(subject, type_), trusted(max_lifetime=LIFETIME), SAID)
        assert (effect.revocations, effect.unknown) == ((), ())
        assert effect.event == (word or ascii(type_[:100]))


def test_what_names_nobody_is_told_by_its_kind_and_never_by_its_value() -> None:
    subject = {
        "format": "complex",
        "user": {"format": "email", "email": "secret@example.com"},
        "tenant": opaque("secret"),
        "device": iss_sub("secret", iss="https://secret.example"),
    }
    effect = effect_of(event(subject), trusted(max_lifetime=LIFETIME), SAID)
    assert effect.unknown == ("'user' 'email'", "'tenant' OpaqueId", "'device' of another issuer")


_NAMES = st.sampled_from(["dev1", "dev2", "jane"])
_SIMPLE = st.one_of(
    st.builds(iss_sub, _NAMES, st.sampled_from([ISSUER, "https://elsewhere.example"])),
    st.builds(opaque, _NAMES),
    st.builds(jwt_id, _NAMES, st.sampled_from([ISSUER, "https://elsewhere.example"])),
    st.just({"format": "email"}),
)
_MEMBERS = st.sampled_from(["user", "device", "session", "tenant", "application", "group", "x"])


@given(st.dictionaries(_MEMBERS, _SIMPLE, min_size=1), st.sampled_from(["sub", "client_id"]))
def test_no_event_reaches_beyond_what_it_names(
    members: dict[str, dict[str, str]], claim: str
) -> None:
    """Never everything, never another issuer's, never what a group or a tenant would mean."""
    meant = revoked({"format": "complex", **members}, claim)
    named = {
        value
        for member, identifier in members.items()
        if member in ("user", "device", "session")
        for value in identifier.values()
    }
    for target in meant:
        assert len([name for name in target if name]) == 1
        assert set(target) - {None} <= named


@given(st.dictionaries(_MEMBERS, _SIMPLE, min_size=1), st.sampled_from(["sub", "client_id"]))
def test_no_user_or_device_that_it_names_goes_unharmed(
    members: dict[str, dict[str, str]], claim: str
) -> None:
    """Unless it names one token, which is meant alone."""
    meant = revoked({"format": "complex", **members}, claim)
    session = members.get("session", {})
    if session.get("format") == "jwt_id" and session["iss"] == ISSUER:
        assert meant == {(None, None, session["jti"])}
        return
    for member in ("user", "device"):
        identifier = members.get(member, {})
        if identifier.get("iss", ISSUER) == ISSUER and identifier.get("format") != "jwt_id":
            name = identifier.get("sub") or identifier.get("id")
            assert name is None or (name, None, None) in meant

# SPDX-License-Identifier: Apache-2.0
"""Subject identifiers are read as RFC 9493 and SSF write them; what names nobody here is kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ClaimError
from keyfob.tokens.subject_identifiers import (
    MAX_IDENTIFIERS,
    IssuerSubject,
    OpaqueId,
    OtherIdentifier,
    TokenId,
    parse_subject,
)

ISS = "https://as.example"
ISS_SUB = {"format": "iss_sub", "iss": ISS, "sub": "dev1"}
OPAQUE = {"format": "opaque", "id": "11112222333344445555"}
JWT_ID = {"format": "jwt_id", "iss": ISS, "jti": "B70BA622"}
DEVICE = IssuerSubject(issuer=ISS, subject="dev1")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (ISS_SUB, DEVICE),
        (OPAQUE, OpaqueId(id="11112222333344445555")),
        (JWT_ID, TokenId(issuer=ISS, token_id="B70BA622")),
        ({"format": "account", "uri": "acct:a@example.com"}, OtherIdentifier(format="account")),
        ({"format": "email", "email": "a@example.com"}, OtherIdentifier(format="email")),
        (
            {"format": "phone_number", "phone_number": "+12065550100"},
            OtherIdentifier(format="phone_number"),
        ),
        ({"format": "did", "url": "did:example:1"}, OtherIdentifier(format="did")),
        ({"format": "uri", "uri": "https://a.example/"}, OtherIdentifier(format="uri")),
        ({"format": "of tomorrow", "x": [1]}, OtherIdentifier(format="of tomorrow")),
        ({**ISS_SUB, "unknown": {}}, DEVICE),
    ],
)
def test_a_simple_subject_is_the_member_without_a_name(written: Any, read: Any) -> None:
    assert dict(parse_subject(written, "sub_id").members) == {"": (read,)}


def test_aliases_are_several_names_of_one_member() -> None:
    email = {"format": "email", "email": "a@example.com"}
    subject = parse_subject({"format": "aliases", "identifiers": [ISS_SUB, email]}, "sub_id")
    assert dict(subject.members) == {"": (DEVICE, OtherIdentifier(format="email"))}


def test_a_complex_subject_has_its_members_by_name() -> None:
    """As CAEP's own example of session-revoked writes it."""
    subject = parse_subject(
        {
            "format": "complex",
            "user": {"format": "iss_sub", "iss": ISS, "sub": "jane"},
            "device": ISS_SUB,
            "tenant": {"format": "opaque", "id": "123456789"},
        },
        "sub_id",
    )
    assert dict(subject.members) == {
        "user": (IssuerSubject(issuer=ISS, subject="jane"),),
        "device": (DEVICE,),
        "tenant": (OpaqueId(id="123456789"),),
    }


@pytest.mark.parametrize(
    "written",
    [
        None,
        "dev1",
        [ISS_SUB],
        {},
        {"iss": ISS, "sub": "dev1"},
        {"format": 1},
        {"format": ""},
        {"format": "x" * 65},
        {"format": "a\nb"},
        {"format": "iss_sub", "iss": ISS},
        {"format": "iss_sub", "sub": "dev1"},
        {"format": "iss_sub", "iss": ISS, "sub": ""},
        {"format": "iss_sub", "iss": ISS, "sub": 1},
        {"format": "iss_sub", "iss": ISS, "sub": "x" * 1025},
        {"format": "iss_sub", "iss": [ISS], "sub": "dev1"},
        {"format": "opaque"},
        {"format": "opaque", "id": "a\0b"},
        {"format": "jwt_id", "iss": ISS},
        {"format": "aliases"},
        {"format": "aliases", "identifiers": {}},
        {"format": "aliases", "identifiers": []},
        {"format": "aliases", "identifiers": [ISS_SUB] * (MAX_IDENTIFIERS + 1)},
        {"format": "aliases", "identifiers": [{"format": "aliases", "identifiers": [ISS_SUB]}]},
        {"format": "aliases", "identifiers": [ISS_SUB, {"format": "opaque"}]},
        {"format": "complex"},
        {"format": "complex", "user": "jane"},
        {"format": "complex", "user": {"format": "iss_sub"}},
        {"format": "complex", **{f"m{n}": OPAQUE for n in range(MAX_IDENTIFIERS + 1)}},
        {"format": "complex", "x" * 65: OPAQUE},
    ],
)
def test_what_is_not_well_formed_is_refused_by_the_claims_name(written: Any) -> None:
    with pytest.raises(ClaimError, match="sub_id") as caught:
        parse_subject(written, "sub_id")
    assert (caught.value.code, caught.value.claim) == ("claim_invalid", "sub_id")


def test_a_complex_subject_within_a_complex_one_names_nobody() -> None:
    inner = {"format": "complex", "user": ISS_SUB}
    subject = parse_subject({"format": "complex", "user": inner}, "sub_id")
    assert dict(subject.members) == {"user": (OtherIdentifier(format="complex"),)}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["format", "iss", "sub", "id", "jti", "identifiers", "user", "x"]),
            inner | st.sampled_from(["iss_sub", "opaque", "aliases", "complex", "email", "jwt_id"]),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(_JSON)
def test_whatever_is_sent_a_subject_comes_out_or_a_claim_error(value: Any) -> None:
    try:
        subject = parse_subject(value, "sub_id")
    except ClaimError:
        return
    assert all(subject.members.values())

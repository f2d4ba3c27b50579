# SPDX-License-Identifier: Apache-2.0
"""Whatever is asked for, an exchanged token allows nothing that a side of the exchange does not.

The oracle is the guard's own evaluation of tokens: it asks the rules about topics, one by one, and
knows nothing of how rights are narrowed.
"""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.authorization.permissions import Permissions
from keyfob.authorization.syntaxes.authorization_details import parse_details
from keyfob.authorization.syntaxes.scopes import parse_scopes
from keyfob.mqtt.topics import TopicFilter, TopicName
from keyfob.server.asked_rights import TOKEN_EXCHANGE, AskedRights
from keyfob.server.authorization_details import Detail
from keyfob.server.exchanged_rights import Rights, common_rights
from keyfob.server.issue import Access
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.resources import Resources

LEVELS = st.sampled_from(["a", "b", "+", ""])
FILTERS = st.builds(
    lambda levels, end: "/".join([*levels, *end]) or "a",
    st.lists(LEVELS, min_size=1, max_size=3),
    st.sampled_from([[], ["#"]]),
)
GROUPED = st.one_of(FILTERS, FILTERS.map(lambda text: f"$share/g/{text}"), st.just("$SYS/#"))
OTHERS = st.sampled_from(["mqtt.connect", "fleet.read", "fleet.write"])
SCOPES = st.lists(
    st.one_of(
        OTHERS,
        FILTERS.map("mqtt.publish:{}".format),
        GROUPED.map("mqtt.subscribe:{}".format),
    ),
    max_size=5,
).map(lambda scopes: tuple(dict.fromkeys(scopes)))
BROKERS = ("here", "there")
DETAILS = st.lists(
    st.builds(
        Detail,
        st.sampled_from([("publish",), ("subscribe",), ("publish", "subscribe")]),
        st.lists(FILTERS, min_size=1, max_size=2).map(tuple),
        st.sampled_from([None, ("here",), ("there",), BROKERS]),
    ),
    max_size=3,
).map(tuple)
RIGHTS = st.builds(Rights, SCOPES, DETAILS)
ASKED = st.fixed_dictionaries(
    {},
    optional={
        "scope": SCOPES.filter(bool).map(" ".join),
        "authorization_details": DETAILS.filter(bool).map(
            lambda some: json.dumps([one.members() for one in some])
        ),
        "resource": st.sampled_from(["x", "https://a.example", "https://b.example"]),
    },
)
NAMES = [
    TopicName.parse(text)
    for text in ("a", "b", "a/b", "b/a", "a/a", "/a", "a/", "a/b/a", "b/b/b", "a//a", "a/b/a/b")
]
WANTED = [
    TopicFilter.parse(text)
    for text in ("#", "+", "a/#", "a/+", "+/+", "a/b", "$SYS/#", "$share/g/a/b", "$share/g/#", "/+")
]


def allowed(rights: Rights, broker: str) -> set[tuple[str, str]]:
    """Everything of the sample that a resource server lets these rights do."""
    rules = parse_scopes(rights.scopes).rules
    rules += parse_details([one.members() for one in rights.details], [broker]).rules
    permissions = Permissions.allow_only(rules)
    found = {("publish", name.value) for name in NAMES if permissions.publish(name).allowed}
    found |= {("receive", name.value) for name in NAMES if permissions.receive(name).allowed}
    found |= {("subscribe", str(one)) for one in WANTED if permissions.subscribe(one).allowed}
    return found | {("own", scope) for scope in rights.scopes if ":" not in scope}


@settings(max_examples=300)
@given(SCOPES, RIGHTS, SCOPES, st.none() | RIGHTS)
def test_what_is_common_is_held_by_every_side(
    gateway: tuple[str, ...], token: Rights, device: tuple[str, ...], own: Rights | None
) -> None:
    common = common_rights(gateway, token, device, own)
    for broker in BROKERS:
        got = allowed(common, broker)
        assert got <= allowed(token, broker)
        assert got <= allowed(Rights(gateway), broker)
        assert got <= allowed(Rights(device), broker)
        assert own is None or got <= allowed(own, broker)


@settings(max_examples=300)
@given(RIGHTS, ASKED, st.integers(0, 10_000))
def test_a_request_only_takes_away(held: Rights, asked: dict[str, str], ends_in: int) -> None:
    now = 1_800_000_000
    resources = Resources("mqtt", {"https://a.example": "a", "https://b.example": "b"})
    access = Access(
        subject="gw-1", client_id="gw", scopes=held.scopes, details=held.details, lifetime=None,
        revoked_through=0, ends_by=now + ends_in, audience=("mqtt", "a"),
    )  # fmt: skip
    try:
        got = AskedRights(resources).narrow(
            access,
            asked,
            grant_type=TOKEN_EXCHANGE,
            proven={},
        )
    except OAuthError:
        return
    assert got.ends_by == now + ends_in
    assert {got.audience} <= {"mqtt", "a", ("mqtt", "a")}
    asked_for = Rights(got.scopes, got.details)
    for broker in BROKERS:
        assert allowed(asked_for, broker) <= allowed(held, broker)
    if "scope" not in asked and "authorization_details" in asked:
        assert set(got.scopes) <= {"mqtt.connect"}
    if "scope" in asked and "authorization_details" not in asked:
        assert got.details == ()


THUMB = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"


@pytest.mark.parametrize(
    ("shown", "proven", "good"),
    [
        ([{}], {}, True),
        ([{"jkt": THUMB}], {"jkt": THUMB}, True),
        ([{"x5t#S256": THUMB}], {"x5t#S256": THUMB, "jkt": "a"}, True),
        ([{"jkt": THUMB}], {}, False),
        ([{"jkt": THUMB}], {"jkt": "a"}, False),
        ([{"jkt": THUMB}], {"x5t#S256": THUMB}, False),
        ([{"jkt": THUMB, "x5t#S256": "a"}], {"jkt": THUMB}, False),
        ([{}, {"jkt": "a"}], {"jkt": THUMB}, False),
        # What a client is registered with, or asks for, it has not proven.
        ([{"jwk": "k"}], {"jwk": "k"}, False),
        ([{"kid": "k"}], {"kid": "k"}, False),
    ],
)
def test_a_bound_token_is_exchanged_with_its_proof_alone(
    shown: list[dict[str, object]], proven: dict[str, object], good: bool
) -> None:
    access = Access(
        subject="gw-1", client_id="gw", scopes=("mqtt.connect",), lifetime=None,
        revoked_through=0, shown_confirmations=tuple(shown),
    )  # fmt: skip
    rights = AskedRights(Resources("mqtt"))
    expectation = contextlib.nullcontext() if good else pytest.raises(OAuthError)
    with expectation:
        rights.narrow(access, {}, grant_type=TOKEN_EXCHANGE, proven=proven)

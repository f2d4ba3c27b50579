# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a token, told from what its bearer can read; and what it allows."""

from __future__ import annotations

import json
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion

from keyfob.authorization.permissions import Operation
from keyfob.cli.doctor.clock_checks import Skew
from keyfob.cli.doctor.finding import Section, Severity
from keyfob.cli.doctor.rights import Allowed, read_rights
from keyfob.cli.doctor.sizes import check_sizes, connect_bytes
from keyfob.cli.doctor.token_checks import Seen, check_token, look_into
from keyfob.cli.doctor.trying import broken
from keyfob.device.token import Token
from keyfob.errors import TokenUnavailableError
from keyfob.mqtt.topics import TopicFilter, TopicName
from keyfob.tokens import base64url, jws
from keyfob.tokens.keys import KeySet
from keyfob.tokens.sign import SigningKey
from tests.device.world import SetClock, token_of

ISSUER = "https://as.example"
KEY = SigningKey.generate("ES256")
KEYS = KeySet.from_jwks({"keys": [KEY.public_jwk()]})
CLOCK = SetClock()
NOW = int(CLOCK.wall)
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "dev1",
    "client_id": "dev1",
    "aud": "mqtt",
    "iat": NOW,
    "exp": NOW + 3600,
    "scope": "mqtt.connect mqtt.publish:devices/dev1/# mqtt.subscribe:commands/dev1/#",
}


def signed(key: SigningKey = KEY, **changes: Any) -> Seen:
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    return look_into(token_of(CLOCK, access_token=key.sign(claims)))


def unsigned(header: dict[str, Any]) -> Seen:
    parts = (json.dumps(header).encode(), json.dumps(CLAIMS).encode(), b"x" * 64)
    text = ".".join(base64url.encode(part).decode() for part in parts)
    return look_into(token_of(CLOCK, access_token=text))


def checked(seen: Seen, **options: Any) -> Section:
    values: dict[str, Any] = {"issuer": ISSUER, "keys": KEYS, "skew": None, "fetched": True}
    return check_token(seen, **values | options)


def codes(section: Section) -> set[str]:
    return {finding.code for finding in section.findings}


def test_a_token_as_it_should_be_has_no_finding() -> None:
    section = checked(signed())
    assert section.findings == ()
    assert section.facts["signature"] == "good"
    assert section.facts["kind"] == "JWT"
    assert section.facts["lifetime"] == 3600
    assert section.facts["with_refresh_token"] is False


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"iss": "https://as.example/"}, "token_issuer_differs"),
        ({"aud": None}, "token_claim_missing"),
        ({"exp": None}, "token_claim_missing"),
        ({"exp": NOW + 60}, "token_lifetime_differs"),
        ({"cnf": {"jkt": "x" * 43}}, "token_bound"),
    ],
)
def test_a_claim_that_does_not_fit_is_told(changes: dict[str, Any], code: str) -> None:
    assert codes(checked(signed(**changes))) == {code}


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ({"alg": "none", "typ": "at+jwt"}, {"token_algorithm", "token_signature"}),
        ({"alg": "HS256", "typ": "at+jwt"}, {"token_algorithm", "token_signature"}),
        ({"alg": "ES256", "typ": "JWT", "kid": KEY.kid}, {"token_type", "token_signature"}),
        ({"alg": "ES256", "kid": KEY.kid}, {"token_type", "token_signature"}),
        ({"alg": "ES256", "typ": "at+jwt", "crit": ["x"]}, {"token_unreadable"}),
    ],
)
def test_a_header_that_no_guard_takes_is_told(header: dict[str, Any], found: set[str]) -> None:
    assert codes(checked(unsigned(header))) == found


def test_a_signature_by_another_key_is_told() -> None:
    stranger = checked(signed(SigningKey.generate("ES256")))
    assert codes(stranger) == {"token_signature"}
    assert stranger.facts["signature"] == "not good"


def test_without_the_keys_nothing_is_said_about_the_signature() -> None:
    assert "signature" not in checked(signed(), keys=None).facts


def test_an_issuer_whose_machines_have_two_times_is_told() -> None:
    agrees = Skew(least=-1, most=1, samples=3)
    assert codes(checked(signed(), skew=agrees)) == set()
    later = signed(iat=NOW + 120, exp=NOW + 3720)
    assert codes(checked(later, skew=agrees)) == {"token_clock_differs"}
    # What was kept may have been asked for when the clock was another.
    assert codes(checked(later, skew=agrees, fetched=False)) == set()


def test_a_long_life_is_worth_a_word() -> None:
    token = token_of(CLOCK, access_token=KEY.sign(CLAIMS | {"exp": NOW + 864_000}), lifetime=864e3)
    section = checked(look_into(token))
    assert codes(section) == {"token_lifetime"}
    assert section.findings[0].severity is Severity.NOTE


def test_of_an_opaque_token_it_is_said_what_cannot_be_known() -> None:
    seen = look_into(token_of(CLOCK, access_token="kfa_" + "x" * 43, scope="mqtt.connect"))
    section = checked(seen)
    assert codes(section) == {"token_opaque"}
    assert section.facts["kind"] == "opaque"
    assert section.facts["scope"] == "mqtt.connect"
    assert not {"iss", "sub", "aud", "alg", "signature"} & set(section.facts)


@given(st.text(max_size=200))
def test_whatever_a_server_gives_for_a_token_is_looked_at_without_an_error(text: str) -> None:
    seen = look_into(token_of(CLOCK, access_token=text))
    section = checked(seen)
    _, rights = read_rights(seen, "")
    assert text == "" or len(text) < 8 or text not in str(section) + str(rights)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
NAMES = ("iss", "sub", "aud", "exp", "iat", "scope", "scp", "acl", "authorization_details", "cnf")


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), JSON))
def test_whatever_claims_hold_they_are_looked_at_without_an_error(claims: dict[str, Any]) -> None:
    seen = Seen(token=token_of(CLOCK), header={"alg": "ES256"}, claims=claims)
    checked(seen)
    read_rights(seen, "dev1")


# Rights


def test_what_a_token_allows_is_told_as_filters() -> None:
    allowed, section = read_rights(signed(), "dev1")
    assert section.findings == ()
    assert section.facts["publish"] == ["devices/dev1/#"]
    assert section.facts["subscribe"] == ["commands/dev1/#"]
    assert allowed.permissions is not None
    assert allowed.permissions.publish(TopicName.parse("devices/dev1/t"), 1).allowed


def test_rights_in_another_syntax_are_read_too() -> None:
    details = [{"type": "mqtt", "actions": ["publish"], "topics": ["a/#"]}]
    _, section = read_rights(signed(authorization_details=details), "dev1")
    assert section.facts["publish"] == ["devices/dev1/#", "a/#"]
    acl = [{"permission": "deny", "action": "publish", "topic": "secret/#"}]
    acl += [{"permission": "allow", "action": "all", "topic": "#"}]
    _, section = read_rights(signed(acl=acl), "dev1")
    assert section.facts["publish"] == ["not secret/#", "#"]


@pytest.mark.parametrize(
    ("scope", "found"),
    [
        ("", {"connect_scope_missing", "rights_none"}),
        ("mqtt.connect", {"rights_none"}),
        ("mqtt.publish:a", {"connect_scope_missing"}),
        ("mqtt.connect mqtt.publish:a/#/b", {"rights_none", "rights_unreadable"}),
    ],
)
def test_what_gives_no_right_is_told(scope: str, found: set[str]) -> None:
    _, section = read_rights(signed(scope=scope or None), "dev1")
    assert codes(section) == found


def test_beside_an_opaque_token_the_servers_scope_is_all_that_is_known() -> None:
    opaque = look_into(token_of(CLOCK, access_token="kfa_x", scope="mqtt.publish:a/#"))
    allowed, section = read_rights(opaque, "")
    assert section.facts["publish"] == ["a/#"]
    assert allowed.granted(Operation.PUBLISH)
    allowed, section = read_rights(look_into(token_of(CLOCK, access_token="kfa_x")), "")
    assert allowed.permissions is None
    assert "not known" in str(section.facts["rights"])


def test_only_what_is_known_not_to_be_allowed_counts_as_foreign() -> None:
    foreign = TopicFilter.parse("keyfob-doctor/x/#")
    assert not Allowed().knows_nothing_of(foreign)
    assert read_rights(signed(), "dev1")[0].knows_nothing_of(foreign)
    for wide in ("#", "+/x/#", "keyfob-doctor/+/y"):
        allowed, _ = read_rights(signed(scope=f"mqtt.subscribe:{wide}"), "dev1")
        assert not allowed.knows_nothing_of(foreign)


# Sizes


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(codec="ascii"), max_size=3000), st.text(max_size=40))
def test_the_size_of_a_connect_is_what_paho_sends(token: str, identifier: str) -> None:
    sent = list[bytes]()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=identifier, protocol=mqtt.MQTTv311)
    client.username_pw_set(identifier or "device", token)
    vars(client)["_packet_queue"] = lambda *given: sent.append(bytes(given[1]))
    client._send_connect(60)
    assert len(sent[0]) == connect_bytes(token, identifier)


@pytest.mark.parametrize(
    ("size", "code", "severity"),
    [
        (100, None, None),
        (400, "token_large", Severity.NOTE),
        (9000, "token_large", Severity.NOTE),
        (65_536, "token_too_long", Severity.WRONG),
    ],
)
def test_where_a_token_does_not_fit_is_told(
    size: int, code: str | None, severity: Severity | None
) -> None:
    section = check_sizes("x" * size, "dev1")
    assert codes(section) == ({code} if code else set())
    assert all(finding.severity is severity for finding in section.findings)


# The token that a broker must refuse


@given(st.binary(min_size=64, max_size=64))
def test_a_broken_token_has_another_signature_over_the_same_claims(signature: bytes) -> None:
    head = KEY.sign(CLAIMS).rpartition(".")[0]
    token = token_of(CLOCK, access_token=f"{head}.{base64url.encode(signature).decode()}")
    other = broken(token)
    before, after = jws.parse_compact(token.access_token), jws.parse_compact(other.access_token)
    assert (before.header, before.payload) == (after.header, after.payload)
    assert before.signature != after.signature


def test_an_opaque_token_is_broken_too_and_a_stub_is_not() -> None:
    token: Token = token_of(CLOCK, access_token="kfa_" + "x" * 43, refresh_token="r")
    other = broken(token)
    assert other.access_token != token.access_token
    assert len(other.access_token) == len(token.access_token)
    assert other.refresh_token is None
    with pytest.raises(TokenUnavailableError):
        broken(token_of(CLOCK, access_token="short"))


def test_a_broken_token_is_refused_by_the_issuers_key() -> None:
    parsed = jws.parse_compact(broken(signed().token).access_token)
    assert not any(key.verify(parsed.signing_input, parsed.signature) for key in KEYS.keys)

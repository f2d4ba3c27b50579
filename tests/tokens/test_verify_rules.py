# SPDX-License-Identifier: Apache-2.0
"""Every rule about an issuer's tokens: what passes at its edge, and what is refused beyond it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from keyfob.errors import (
    UntrustedTokenError,
)
from keyfob.tokens.keys import KeySet
from keyfob.tokens.verify import (
    MAX_DEVICE_CHARS,
    TrustedIssuer,
    VerifiedToken,
    verify,
)

Forge = Callable[..., str]
Accepted = Callable[..., VerifiedToken]
Refused = Callable[..., str]
Claims = dict[str, Any]


# --- one rule, one code ---


@pytest.mark.parametrize("name", ["aud", "exp", "sub", "client_id", "iat", "jti"])
def test_a_claim_that_rfc_9068_requires_is_missed(
    name: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    del claims[name]
    assert refused(forge(claims)) == "claim_missing"


@pytest.mark.parametrize("name", ["sub", "client_id", "iat", "jti", "aud", "exp", "scope"])
def test_a_claim_that_is_null_is_not_there(
    name: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge({**claims, name: None})) == "claim_invalid"


@pytest.mark.parametrize("iss", [None, "", 1, ["https://as.example"], {"a": 1}, True])
def test_a_token_without_a_textual_issuer_is_nobodys(
    iss: Any, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge({**claims, "iss": iss})) == "issuer_unknown"


def test_an_issuer_filed_under_another_name_is_not_trusted(
    claims: Claims, forge: Forge, issuer: TrustedIssuer, key_set: KeySet, now: float
) -> None:
    token = forge({**claims, "iss": "https://alias.example"})
    with pytest.raises(UntrustedTokenError) as caught:
        verify(token, {"https://alias.example": issuer}, {issuer.issuer: key_set}, now)
    assert caught.value.code == "issuer_unknown"


def test_a_token_is_good_until_the_instant_of_its_exp(
    claims: Claims, forge: Forge, accepted: Accepted, refused: Refused
) -> None:
    token = forge({**claims, "exp": 1_790_000_100.5})
    accepted(token, now=math.nextafter(1_790_000_100.5, 0))
    assert refused(token, now=1_790_000_100.5) == "token_expired"
    assert refused(token, now=1_790_000_101.0) == "token_expired"
    assert refused(token, now=1e12) == "token_expired"


def test_expiry_leeway_moves_admission_and_end_alike(
    claims: Claims, forge: Forge, issuer: TrustedIssuer, accepted: Accepted, refused: Refused
) -> None:
    lenient = replace(issuer, expiry_leeway=30)
    token = forge(claims)
    end = claims["exp"] + 30
    assert accepted(token, issuer=lenient, now=end - 0.25).expires_at == end
    assert refused(token, issuer=lenient, now=end) == "token_expired"


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_nbf_and_iat_may_lie_ahead_by_the_leeway_and_no_more(
    *,
    name: str,
    claims: Claims,
    forge: Forge,
    issuer: TrustedIssuer,
    accepted: Accepted,
    refused: Refused,
) -> None:
    token = forge({**claims, name: 1_790_000_010})
    strict = replace(issuer, leeway=0)
    accepted(token, issuer=strict, now=1_790_000_010.0)
    assert refused(token, issuer=strict, now=1_790_000_009.9) == "token_not_yet_valid"
    accepted(token, now=1_789_999_950.0)
    assert refused(token, now=1_789_999_949.9) == "token_not_yet_valid"


@pytest.mark.parametrize("now", [math.nan, math.inf, -math.inf])
def test_a_clock_that_shows_no_time_admits_nobody(
    now: float, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge(claims), now=now) in {"token_expired", "token_not_yet_valid"}


def test_a_clock_that_shows_no_time_admits_nobody_without_iat_either(
    claims: Claims, forge: Forge, issuer: TrustedIssuer, refused: Refused
) -> None:
    relaxed = replace(issuer, types=frozenset({"JWT", "at+jwt"}))
    del claims["iat"]
    assert refused(forge(claims), issuer=relaxed, now=math.nan) == "token_expired"


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_token_that_ends_before_it_begins_is_invalid(
    name: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge({**claims, "exp": 1_790_000_020, name: 1_790_000_020})) == "claim_invalid"
    assert refused(forge({**claims, "exp": 1_790_000_020, name: 1_790_000_030})) == "claim_invalid"


def test_a_lifetime_beyond_the_issuers_limit_is_too_long(
    claims: Claims, forge: Forge, issuer: TrustedIssuer, accepted: Accepted, refused: Refused
) -> None:
    limited = replace(issuer, max_lifetime=3600)
    accepted(forge(claims), issuer=limited)
    longer = forge({**claims, "exp": claims["exp"] + 1})
    accepted(longer)
    assert refused(longer, issuer=limited) == "lifetime_too_long"


def test_a_limited_lifetime_needs_iat_from_a_relaxed_issuer_too(
    claims: Claims, forge: Forge, issuer: TrustedIssuer, refused: Refused
) -> None:
    relaxed = replace(issuer, types=frozenset({"jwt", "at+jwt"}), max_lifetime=3600)
    del claims["iat"]
    assert refused(forge(claims), issuer=relaxed) == "claim_missing"


@pytest.mark.parametrize("scope", ["", "mqtt.connect2", "MQTT.CONNECT", "mqtt", "a,mqtt.connect"])
def test_a_required_scope_is_missed_unless_it_stands_there_exactly(
    scope: str, claims: Claims, forge: Forge, refused: Refused
) -> None:
    assert refused(forge({**claims, "scope": scope})) == "scope_missing"


def test_every_required_scope_is_required(
    claims: Claims, forge: Forge, issuer: TrustedIssuer, accepted: Accepted, refused: Refused
) -> None:
    both = replace(issuer, required_scopes=frozenset({"mqtt.connect", "admin"}))
    assert refused(forge(claims), issuer=both) == "scope_missing"
    accepted(forge({**claims, "scope": "admin mqtt.connect"}), issuer=both)
    del claims["scope"]
    assert refused(forge(claims)) == "scope_missing"
    accepted(forge(claims), issuer=replace(issuer, required_scopes=frozenset()))


# --- the device ---


@pytest.mark.parametrize(
    ("path", "extra", "device"),
    [
        ("sub", {}, "dev1"),
        ("azp", {"azp": "client-7"}, "client-7"),
        ("client_id", {"client_id": "c"}, "c"),
        ("device.id", {"device": {"id": "nested"}}, "nested"),
        ("https://example.com/device", {"https://example.com/device": "named"}, "named"),
        ("sub", {"sub": "x" * MAX_DEVICE_CHARS}, "x" * MAX_DEVICE_CHARS),
        ("sub", {"sub": "設備-1"}, "設備-1"),
    ],
)
def test_the_device_is_what_the_issuers_claim_says(
    *,
    path: str,
    extra: Claims,
    device: str,
    claims: Claims,
    forge: Forge,
    issuer: TrustedIssuer,
    accepted: Accepted,
) -> None:
    trust = replace(issuer, device_claim=path)
    assert accepted(forge({**claims, **extra}), issuer=trust).device == device


@pytest.mark.parametrize(
    "value",
    [
        "",
        7,
        True,
        ["dev1"],
        {"id": 1},
        "x" * (MAX_DEVICE_CHARS + 1),
        "a\0b",
        "a\nb",
        "\x7f",
        "\x9b",
    ],
)
def test_a_device_that_is_no_clean_short_text_is_invalid(
    value: Any, claims: Claims, forge: Forge, issuer: TrustedIssuer, refused: Refused
) -> None:
    trust = replace(issuer, device_claim="azp")
    assert refused(forge({**claims, "azp": value}), issuer=trust) == "claim_invalid"


@pytest.mark.parametrize("extra", [{}, {"azp": None}])
def test_a_token_without_its_device_claim_is_refused(
    extra: Claims, claims: Claims, forge: Forge, issuer: TrustedIssuer, refused: Refused
) -> None:
    trust = replace(issuer, device_claim="azp")
    assert refused(forge({**claims, **extra}), issuer=trust) == "claim_missing"


# --- relaxed issuers ---


@pytest.mark.parametrize("typ", ["JWT", "jwt", None, "at+jwt"])
def test_a_relaxed_issuer_owes_only_issuer_audience_expiry_and_device(
    typ: str | None, forge: Forge, issuer: TrustedIssuer, accepted: Accepted
) -> None:
    relaxed = replace(
        issuer,
        types=frozenset({"JWT", "", "at+jwt"}),
        device_claim="azp",
        required_scopes=frozenset(),
    )
    least = {"iss": issuer.issuer, "aud": "mqtt", "exp": 1_790_000_001, "azp": "d"}
    token = accepted(forge(least, {"typ": typ}), issuer=relaxed)
    assert (token.device, token.claims.subject) == ("d", "")


@pytest.mark.parametrize("name", ["iss", "aud", "exp", "azp"])
def test_a_relaxed_issuer_owes_no_less(
    name: str, forge: Forge, issuer: TrustedIssuer, refused: Refused
) -> None:
    relaxed = replace(issuer, types=frozenset({"JWT"}), device_claim="azp")
    least = {"iss": issuer.issuer, "aud": "mqtt", "exp": 1_790_000_001, "azp": "d"}
    del least[name]
    code = "issuer_unknown" if name == "iss" else "claim_missing"
    token = forge({**least, "scope": "mqtt.connect"}, {"typ": "JWT"})
    assert refused(token, issuer=relaxed) == code


def test_an_issuer_relaxed_to_jwt_still_wants_a_typ(
    claims: Claims, forge: Forge, issuer: TrustedIssuer, refused: Refused
) -> None:
    relaxed = replace(issuer, types=frozenset({"JWT"}))
    assert refused(forge(claims, {"typ": None}), issuer=relaxed) == "type_refused"

# SPDX-License-Identifier: Apache-2.0
"""What an authorization server says of itself, against what a client wants; answered by hand."""

from __future__ import annotations

import itertools
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfob.cli.doctor.finding import Severity
from keyfob.cli.doctor.issuer_checks import DEVICE_CODE, ClientKind, IssuerReport, examine_issuer
from keyfob.device.flow import Answer
from keyfob.errors import KeyfobError, TokenUnavailableError
from keyfob.tokens.sign import SigningKey
from tests.device.world import SetClock, answer, told

ISSUER = "https://as.example/realm"
KEY = SigningKey.generate("ES256")
JWKS = {"keys": [KEY.public_jwk()]}
METADATA: dict[str, Any] = {
    "issuer": ISSUER,
    "token_endpoint": "https://as.example/token",
    "jwks_uri": "https://as.example/jwks",
    "grant_types_supported": ["client_credentials"],
    "token_endpoint_auth_methods_supported": ["client_secret_basic"],
}
NONE = answer({}, 404)
AWAY = TokenUnavailableError("https://as.example: no connection")


def examined(
    *answers: Answer | KeyfobError, clock: SetClock | None = None, **client: Any
) -> IssuerReport:
    values: dict[str, Any] = {
        "issuer": ISSUER,
        "grant_type": "client_credentials",
        "authentication": ("client_secret_basic",),
    }
    _, report = told(examine_issuer(ClientKind(**values | client), clock or SetClock()), answers)
    return report


def codes(report: IssuerReport) -> set[str]:
    """What is found, the clock aside: answers made by hand have no date."""
    return {finding.code for finding in report.section.findings} - {"clock_unknown"}


def changed(**changes: Any) -> Answer:
    return answer({name: one for name, one in (METADATA | changes).items() if one is not None})


def test_a_server_that_offers_what_is_wanted_is_well() -> None:
    report = examined(changed(), NONE, answer(JWKS))
    assert codes(report) == set()
    assert report.keys is not None
    assert report.section.facts["keys"] == [f"{KEY.kid} ES256"]
    assert report.section.facts["token_endpoint"] == "https://as.example/token"


def test_either_place_of_metadata_will_do() -> None:
    report = examined(NONE, changed(), answer(JWKS))
    assert codes(report) == set()
    assert str(report.section.facts["metadata"]).endswith("/.well-known/openid-configuration")


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        (NONE, NONE, "metadata_missing"),
        (AWAY, AWAY, "metadata_missing"),
        (answer(b"<html>"), NONE, "metadata_invalid"),
        (answer(b"[]"), AWAY, "metadata_invalid"),
        (NONE, answer(METADATA | {"issuer": f"{ISSUER}/"}), "issuer_differs"),
        (answer(b"{}"), answer(b"["), "issuer_differs"),
    ],
)
def test_without_metadata_of_this_issuer_the_worst_is_told_once(
    first: Answer | KeyfobError, second: Answer | KeyfobError, code: str
) -> None:
    report = examined(first, second)
    assert codes(report) == {code}
    assert report.keys is None


def test_a_slash_that_makes_another_issuer_is_pointed_at() -> None:
    report = examined(answer(METADATA | {"issuer": f"{ISSUER}/"}), NONE)
    finding = report.section.findings[0]
    assert f"{ISSUER}/" in finding.mend
    assert "slash" in finding.mend


@pytest.mark.parametrize(
    ("changes", "client", "code", "severity"),
    [
        ({"token_endpoint": None}, {}, "endpoint_unusable", Severity.WRONG),
        ({"token_endpoint": "http://as.example/token"}, {}, "endpoint_unusable", Severity.WRONG),
        ({"token_endpoint": "https://127.0.0.1/t"}, {}, "endpoint_unusable", Severity.WRONG),
        (
            {"grant_types_supported": ["client_credentials", DEVICE_CODE]},
            {"grant_type": DEVICE_CODE},
            "endpoint_unusable",
            Severity.WRONG,
        ),
        ({}, {"grant_type": "password"}, "grant_not_offered", Severity.WRONG),
        (
            {},
            {"authentication": ("private_key_jwt",)},
            "authentication_not_offered",
            Severity.WRONG,
        ),
        # Many servers take public clients and do not say so.
        ({}, {"authentication": ("none",)}, "authentication_not_offered", Severity.NOTE),
        ({"jwks_uri": "http://as.example/j"}, {}, "jwks_unusable", Severity.NOTE),
    ],
)
def test_what_is_not_offered_is_told(
    changes: dict[str, Any], client: dict[str, Any], code: str, severity: Severity
) -> None:
    keys = () if "jwks_uri" in changes else (answer(JWKS),)
    report = examined(changed(**changes), NONE, *keys, **client)
    assert codes(report) == {code}
    assert [one.severity for one in report.section.findings if one.code == code] == [severity]


def test_a_server_that_lists_nothing_is_believed_to_offer_it() -> None:
    listless = changed(grant_types_supported=None, token_endpoint_auth_methods_supported=None)
    assert codes(examined(listless, NONE, answer(JWKS))) == set()


@pytest.mark.parametrize(
    "keys",
    [
        NONE,
        AWAY,
        answer(b"no"),
        answer({"keys": []}),
        answer({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}),
    ],
)
def test_keys_that_cannot_be_read_are_told(keys: Answer | KeyfobError) -> None:
    report = examined(changed(), NONE, keys)
    assert codes(report) == {"jwks_unusable"}
    assert report.keys is None


JSON = st.none() | st.integers() | st.text(max_size=9) | st.lists(st.text(max_size=9), max_size=3)
MEMBERS = st.sampled_from([*METADATA, "dpop_signing_alg_values_supported"])


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(MEMBERS, JSON), st.dictionaries(st.just("keys"), JSON))
def test_whatever_a_server_publishes_there_is_a_report(
    metadata: dict[str, Any], keys: dict[str, Any]
) -> None:
    kind = ClientKind(issuer=ISSUER, grant_type="g", authentication=("none",))
    flow = examine_issuer(kind, SetClock())
    answers = itertools.chain([answer(METADATA | metadata), NONE], itertools.repeat(answer(keys)))
    next(flow)
    report = None
    while report is None:
        try:
            flow.send(next(answers))
        except StopIteration as end:
            report = end.value
    assert isinstance(report, IssuerReport)


def test_a_wrong_clock_is_seen_by_the_way() -> None:
    clock = SetClock()
    at = formatdate(clock.wall + 3600, usegmt=True)
    documents: tuple[dict[str, Any], ...] = (METADATA, {}, JWKS)
    answers = [answer(document, date=at) for document in documents]
    report = examined(*answers, clock=clock)
    assert [finding.code for finding in report.section.findings] == ["clock_off"]
    assert report.skew is not None
    assert report.skew.samples == len(documents)
    assert 3598 <= report.skew.least <= report.skew.most <= 3602

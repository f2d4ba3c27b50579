# SPDX-License-Identifier: Apache-2.0
"""What a client says of itself never makes it more than its token allows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ConfigError, TopicError
from keyfob.server.oauth_errors import OAuthError
from keyfob.server.registration.client_wish import read_update, read_wish
from keyfob.server.registration.initial_tokens import Template
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import jwks_of

DEVICE = Template(prefix="line1-", publish=("a/{device}/#",)).completed()
APPLICATION = Template(kind="application").completed()
KEYS = json.loads(jwks_of(SigningKey.generate()))
PRIVATE = {"keys": [{**KEYS["keys"][0], "d": "AAAA"}]}

REFUSED: dict[str, tuple[Template, dict[str, Any]]] = {
    "a name of another line": (DEVICE, {"device_id": "line2-x"}),
    "a name that is none": (DEVICE, {"device_id": "line1-/x"}),
    "a name that is no text": (DEVICE, {"device_id": 7}),
    "no key for private_key_jwt": (DEVICE, {"token_endpoint_auth_method": "private_key_jwt"}),
    "keys beside a secret": (DEVICE, {"jwks": KEYS}),
    "a private key": (DEVICE, {"token_endpoint_auth_method": "private_key_jwt", "jwks": PRIVATE}),
    "keys that are none": (DEVICE, {"token_endpoint_auth_method": "private_key_jwt", "jwks": "x"}),
    "keys to fetch": (DEVICE, {"jwks_uri": "https://attacker.example/keys"}),
    "no authentication": (DEVICE, {"token_endpoint_auth_method": "none"}),
    "an unknown authentication": (DEVICE, {"token_endpoint_auth_method": "tls_or_so"}),
    "another grant": (DEVICE, {"grant_types": ["password"]}),
    "a redirecting grant": (APPLICATION, {"grant_types": ["authorization_code"]}),
    "no grant": (DEVICE, {"grant_types": []}),
    "grants that are no list": (DEVICE, {"grant_types": "client_credentials"}),
    "grants that are no texts": (DEVICE, {"grant_types": [1]}),
    "too many grants": (DEVICE, {"grant_types": ["client_credentials"] * 99}),
    "a response type": (DEVICE, {"response_types": ["code"]}),
    "a name that is too long": (DEVICE, {"client_name": "x" * 129}),
    "a name with a control": (DEVICE, {"client_name": "a\nb"}),
    "a binding that is no truth": (DEVICE, {"dpop_bound_access_tokens": "true"}),
    "a scope that is no text": (DEVICE, {"scope": ["x"]}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_goes_beyond_the_token_is_invalid_client_metadata(case: str) -> None:
    template, document = REFUSED[case]
    with pytest.raises(OAuthError) as caught:
        read_wish(document, template)
    assert caught.value.error == "invalid_client_metadata"
    assert "attacker" not in caught.value.description


def test_a_software_statement_is_not_passed_over_in_silence() -> None:
    with pytest.raises(OAuthError) as caught:
        read_wish({"software_statement": "eyJ"}, DEVICE)
    assert caught.value.error == "invalid_software_statement"


def test_what_is_not_known_is_ignored() -> None:
    unknown = {"redirect_uris": ["https://a.example"], "contacts": [1], "logo_uri": {}, "x": None}
    assert read_wish(unknown, DEVICE) == read_wish({}, DEVICE)


def test_what_is_left_out_is_what_the_token_says() -> None:
    wish = read_wish({}, DEVICE)
    assert (wish.name, wish.auth_method, wish.grant_types) == (
        "",
        "client_secret_basic",
        ("client_credentials",),
    )
    only_keys = Template(auth_methods=("private_key_jwt",)).completed()
    assert read_wish({"jwks": KEYS}, only_keys).auth_method == "private_key_jwt"
    both = read_wish({"grant_types": ["password"]}, APPLICATION)
    assert both.grant_types == ("password",)


def test_the_scope_of_an_application_means_nothing() -> None:
    assert read_wish({"scope": "everything"}, APPLICATION).scope is None


ALLOWED = ("mqtt.connect", "mqtt.publish:a/line1-x/#", "own")


def test_a_scope_is_what_the_token_covers_or_refused() -> None:
    narrow = read_wish({"scope": "mqtt.connect mqtt.publish:a/line1-x/b"}, DEVICE)
    assert narrow.scopes(ALLOWED) == ("mqtt.connect", "mqtt.publish:a/line1-x/b")
    for more in ("mqtt.publish:#", "keyfob.admin.devices:read", "own other", "a  b", '"'):
        with pytest.raises(OAuthError) as caught:
            read_wish({"scope": more}, DEVICE).scopes(ALLOWED)
        assert caught.value.error == "invalid_client_metadata"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    [
        *("device_id", "token_endpoint_auth_method", "jwks", "grant_types", "scope", "client_name"),
        *("response_types", "software_id", "software_version", "client_id", "client_secret"),
    ]
)
LIKELY = st.sampled_from(
    ["line1-x", "client_secret_post", "private_key_jwt", "none", "own", ["password"], KEYS]
)


@given(document=st.dictionaries(MEMBERS, JSON | LIKELY, max_size=6))
def test_no_document_gives_more_than_the_token(document: dict[str, Any]) -> None:
    try:
        wish = read_wish(document, DEVICE)
        scopes = wish.scopes(ALLOWED)
    except OAuthError:
        return
    assert not wish.name or wish.name.startswith("line1-")
    assert set(wish.grant_types) <= set(DEVICE.grant_types)
    assert wish.auth_method in DEVICE.auth_methods
    assert (wish.jwks is None) == wish.has_secret
    assert set(scopes) <= set(ALLOWED) or all("a/line1-x" in one for one in {*scopes} - {*ALLOWED})


UPDATES: dict[str, dict[str, Any]] = {
    "no client_id": {},
    "another client_id": {"client_id": "line1-y"},
    "another device_id": {"client_id": "line1-x", "device_id": "line1-y"},
    "a token": {"client_id": "line1-x", "registration_access_token": "kfm_x"},
    "a place": {"client_id": "line1-x", "registration_client_uri": "https://x"},
    "an end": {"client_id": "line1-x", "client_secret_expires_at": 0},
    "a beginning": {"client_id": "line1-x", "client_id_issued_at": 1},
    "keys instead of a secret": {
        "client_id": "line1-x",
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": KEYS,
    },
    "another grant": {"client_id": "line1-x", "grant_types": ["password"]},
}


@pytest.mark.parametrize("case", UPDATES)
def test_an_update_never_makes_a_client_another_or_more(case: str) -> None:
    current = Template(
        grant_types=("client_credentials",),
        auth_methods=("client_secret_basic", "client_secret_post"),
    )
    with pytest.raises(OAuthError) as caught:
        read_update(UPDATES[case], "line1-x", current, "client_secret_basic")
    assert caught.value.error == "invalid_client_metadata"


TEMPLATES: dict[str, Template] = {
    "a prefix that is no name": Template(prefix="/"),
    "a reserved prefix": Template(prefix="auto-"),
    "a prefix of secrets": Template(prefix="kfs_"),
    "a prefix that is too long": Template(prefix="x" * 65),
    "a scope of the server": Template(scopes=("keyfob.admin.devices:write",)),
    "no filter": Template(publish=("a/#/b",)),
    "an unknown placeholder": Template(publish=("a/{tenant}",)),
    "a grant of applications": Template(grant_types=("password",)),
    "a way of applications": Template(auth_methods=("none",)),
    "a lifetime of a week": Template(lifetime=604_800),
    "rights of an application": Template(kind="application", publish=("a",)),
    "a prefix of an application": Template(kind="application", prefix="a"),
}


@pytest.mark.parametrize("case", TEMPLATES)
def test_a_template_that_no_client_could_be_made_by_is_refused(case: str) -> None:
    with pytest.raises((ConfigError, TopicError)):
        TEMPLATES[case].completed().check()


@pytest.mark.parametrize(
    "wish",
    [
        {"tls_client_certificate_bound_access_tokens": True},
        {"tls_client_auth_san_dns": "a.example"},
        {"tls_client_auth_subject_dn": "CN=a"},
        {"tls_client_certificate_thumbprints": ["x"]},
        {"token_endpoint_auth_method": "tls_client_auth"},
        {"token_endpoint_auth_method": "self_signed_tls_client_auth"},
    ],
    ids=str,
)
def test_nobody_registers_a_certificate_by_himself(wish: dict[str, object]) -> None:
    with pytest.raises(OAuthError) as caught:
        read_wish(wish, DEVICE)
    assert caught.value.error == "invalid_client_metadata"

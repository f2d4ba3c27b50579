# SPDX-License-Identifier: Apache-2.0
"""What a wish becomes on its way to a server, and there again: the same."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.cli.admin_bodies import device_change, new_application, new_certificate, new_device
from keyfob.errors import ConfigError
from keyfob.server.admin.applications import NewApplication
from keyfob.server.admin.devices import DeviceChange, NewDevice
from keyfob.server.certificates.identity import CertificateIdentity
from keyfob.server.client_metadata import ClientMetadata
from keyfob.server.wishes import ApplicationWish, ChangeWish, DeviceWish, Rights
from keyfob.tokens.sign import SigningKey
from tests.server.assertions import jwks_of

_T = TypeVar("_T")

KEYS = json.dumps(json.loads(jwks_of(SigningKey.generate())), separators=(",", ":")).encode()


def some(*texts: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(texts), unique=True).map(tuple)


names = st.sampled_from(["dev1", "a.b", "x~y"])
rights = st.builds(
    Rights, publish=some("a/{device}", "#"), subscribe=some("b/+"), scopes=some("read", "x:y")
)
labels = st.dictionaries(st.sampled_from(["site", "model"]), st.sampled_from(["", "n", "ü=,"]))
metadata = st.builds(
    ClientMetadata,
    dpop_bound_access_tokens=st.booleans(),
    access_token_format=st.sampled_from(["", "jwt", "opaque"]),
    access_token_confirmation=st.sampled_from(["", "jwk", "symmetric"]),
)
keys = st.none() | st.just(KEYS)
certificates = st.none() | st.sampled_from(
    [
        *(CertificateIdentity(subject_dn="CN=a"), CertificateIdentity(san_dns="a.example")),
        *(CertificateIdentity(san_uri="urn:a"), CertificateIdentity(san_ip="::1")),
        *(CertificateIdentity(san_email="a@b"), CertificateIdentity(thumbprints=("x" * 43,))),
    ]
)
devices = st.builds(
    DeviceWish,
    names,
    rights=rights,
    lifetime=st.none() | st.integers(60, 86_400),
    groups=some("g1", "g2"),
    labels=labels,
    pending=st.booleans(),
    jwks=keys,
    certificate=certificates,
    certificate_bound=st.booleans(),
    metadata=metadata,
)
applications = st.builds(
    ApplicationWish,
    names,
    public=st.booleans(),
    refresh=st.booleans(),
    device_code=st.booleans(),
    jwks=keys,
    certificate=certificates,
    certificate_bound=st.booleans(),
    metadata=metadata,
)
changes = st.builds(
    ChangeWish,
    into=some("g1", "g2"),
    out_of=some("g3"),
    labels=labels,
    unlabel=some("old"),
    lifetime=st.none() | st.just(0) | st.integers(60, 86_400),
    rights=st.none() | rights,
)


def received(body: _T) -> _T:
    """Return a body as the server reads it."""
    return msgspec.json.decode(msgspec.json.encode(body), type=type(body))


@given(devices)
def test_a_device_is_wished_for_as_it_was(wish: DeviceWish) -> None:
    body: NewDevice = received(new_device(wish))
    assert body.wish == wish


@given(applications)
def test_an_application_is_wished_for_as_it_was(wish: ApplicationWish) -> None:
    body: NewApplication = received(new_application(wish))
    assert body.wish == wish


@given(changes)
def test_a_change_is_wished_for_as_it_was(change: ChangeWish) -> None:
    body: DeviceChange = received(device_change(change))
    assert body.wish == change


@given(certificates | st.just(CertificateIdentity()), st.none() | st.booleans(), st.booleans())
def test_a_certificate_is_given_left_or_taken_away_as_it_was_meant(
    identity: CertificateIdentity | None, bound: bool | None, remove_secret: bool
) -> None:
    body = received(new_certificate(identity, bound=bound, remove_secret=remove_secret))
    assert body.wishes == {
        "certificate": identity,
        "bound": bound,
        "remove_secret": remove_secret,
    }


def test_scopes_that_were_written_together_are_sent_one_by_one() -> None:
    wish = DeviceWish("dev1", rights=Rights(scopes=("a b", "c")))
    assert new_device(wish).rights.scopes == ("a", "b", "c")


@given(devices)
def test_what_cannot_be_sent_is_refused_and_never_left_out(wish: DeviceWish) -> None:
    unsent = (
        replace(wish, metadata=ClientMetadata(client_name="meter")),
        replace(wish, jwks=b"[]"),
    )
    for each in unsent:
        with pytest.raises(ConfigError):
            new_device(each)

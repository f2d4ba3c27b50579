# SPDX-License-Identifier: Apache-2.0
"""A configuration that is read again goes on with the parts that are the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfob.cli.compose import bindings, event_sources
from keyfob.cli.parts import Parts
from keyfob.config import load
from keyfob.guard.introspection import Introspector
from keyfob.guard.issuer_bindings import IssuerBinding
from keyfob.oauth.client_authentication import ClientSecretBasic, ClientSecretPost, PrivateKeyJwt
from keyfob.tokens.sign import SigningKey

ISSUER = "https://as.example"
BASE = f"""
[[issuer]]
name = "a"
issuer = "{ISSUER}"
audience = ["mqtt"]
revocation_client = "guard"
revocation_secret = "file:secret"
max_lifetime = 3600
"""
ASKING = """
[issuer.introspection]
client_id = "guard"
client_secret = "file:secret"
"""
EVENTS = '[issuer.events]\naudience = "https://guard.example/events"\n'


def bound(folder: Path, text: str, parts: Parts) -> IssuerBinding:
    (folder / "keyfob.toml").write_text(text)
    return bindings(load(folder / "keyfob.toml"), parts=parts)[ISSUER]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("s3cret")
    return tmp_path


def test_what_did_not_change_is_the_same_object(folder: Path) -> None:
    parts = Parts()
    before = bound(folder, BASE + ASKING, parts)
    after = bound(folder, BASE + ASKING, Parts(parts))
    assert before.keys is after.keys
    assert before.revocations is after.revocations
    assert before.introspector is after.introspector
    assert before.reasking is after.reasking


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ("jwks_refresh = 60\n", {"keys"}),
        ('jwks_uri = "https://as.example/other"\n', {"keys"}),
        ("leeway = 5\n", {"introspector", "reasking"}),
        ('rights = ["aif"]\n', set()),
        ('ca = "ca.pem"\n', {"keys", "revocations", "introspector", "reasking"}),
    ],
)
def test_what_changed_is_made_anew_and_nothing_else(
    folder: Path, change: str, changed: set[str]
) -> None:
    parts = Parts()
    before = bound(folder, BASE + ASKING, parts)
    after = bound(folder, BASE + change + ASKING, Parts(parts))
    names = ("keys", "revocations", "introspector", "reasking")
    assert {n for n in names if getattr(before, n) is not getattr(after, n)} == changed


def test_a_secret_that_was_rotated_in_its_file_is_used(folder: Path) -> None:
    parts = Parts()
    before = bound(folder, BASE + ASKING, parts)
    (folder / "secret").write_text("another")
    after = bound(folder, BASE + ASKING, Parts(parts))
    assert before.keys is after.keys
    assert before.revocations is not after.revocations
    assert before.introspector is not after.introspector


def test_a_part_that_went_and_came_back_is_a_new_one(folder: Path) -> None:
    first, second = Parts(), Parts()
    before = bound(folder, BASE + ASKING, first)
    second = Parts(first)
    bound(folder, BASE, second)
    after = bound(folder, BASE + ASKING, Parts(second))
    assert before.introspector is not after.introspector


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ('client_secret = "file:secret"\n', ClientSecretBasic),
        (
            'authentication = "client_secret_post"\nclient_secret = "file:secret"\n',
            ClientSecretPost,
        ),
        ('authentication = "private_key_jwt"\nprivate_key = "file:key.pem"\n', PrivateKeyJwt),
    ],
)
def test_every_way_to_authenticate_is_made(folder: Path, lines: str, kind: type) -> None:
    (folder / "key.pem").write_bytes(SigningKey.generate("ES256").to_pem())
    section = f'[issuer.introspection]\nclient_id = "guard"\n{lines}'
    made = bound(folder, BASE + section, Parts()).introspector
    assert isinstance(made, Introspector)
    assert type(made._authentication) is kind
    assert "s3cret" not in repr(made._authentication)


def test_events_are_verified_with_the_issuers_own_keys(folder: Path) -> None:
    text = BASE + EVENTS + "[guard.http]\nport = 9464\n"
    (folder / "keyfob.toml").write_text(text)
    settings = load(folder / "keyfob.toml")
    issuers = bindings(settings)
    source = event_sources(settings, issuers)[ISSUER]
    assert source.keys is issuers[ISSUER].keys
    assert source.audience == "https://guard.example/events"
    assert source.authorization == ""

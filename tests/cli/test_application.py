# SPDX-License-Identifier: Apache-2.0
"""`keyfob application`: OAuth clients for the password grant."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec

from keyfob.cli.installation import Installation
from keyfob.cli.server_settings import server_settings
from keyfob.server.lifetimes import RefreshLifetimes
from keyfob.tokens.sign import SigningKey
from tests.cli.commands import Shell
from tests.server.assertions import jwks_of


def test_a_confidential_application_has_a_secret_and_a_public_one_has_none(shell: Shell) -> None:
    assert shell.json("application", "add", "backend")["client_secret"].startswith("kfs_")
    assert "client_secret" not in shell.json("application", "add", "phone", "--public")
    out = shell.ok("application", "add", "another").out
    assert [line.split()[0] for line in out.splitlines()] == [
        "client_id",
        "client_secret",
        "grant_types",
    ]


def test_list_says_which_is_which(shell: Shell) -> None:
    assert "keyfob application add ID" in shell.ok("application", "list").out
    shell.ok("application", "add", "backend")
    shell.ok("application", "add", "phone", "--public", "--refresh")
    assert [line.split() for line in shell.ok("application", "list").out.splitlines()] == [
        ["ID", "KIND", "GRANTS"],
        ["backend", "confidential", "password"],
        ["phone", "public", "password", "refresh_token"],
    ]
    assert shell.json("application", "list") == [
        {"client_id": "backend", "public": False, "grant_types": "password"},
        {"client_id": "phone", "public": True, "grant_types": "password refresh_token"},
    ]


def test_remove_forgets_it_and_only_it(shell: Shell) -> None:
    shell.ok("application", "add", "backend")
    shell.ok("device", "add", "dev1")
    assert "removed" in shell.ok("application", "remove", "backend").out
    assert shell.json("application", "list") == []
    for name in ("backend", "dev1"):
        outcome = shell("application", "remove", name, "--json")
        assert (outcome.code, outcome.json["error"]) == (2, "not_found")


def test_lifetimes_of_refresh_tokens_are_as_configured(installation: Installation) -> None:
    settings = installation.settings
    assert server_settings(settings).refresh == RefreshLifetimes()
    section = msgspec.structs.replace(
        settings.server, refresh_token_lifetime=50, refresh_token_idle_lifetime=40
    )
    changed = dataclasses.replace(settings, server=section)
    assert server_settings(changed).refresh == RefreshLifetimes(total=50, idle=40)


def test_one_name_cannot_be_a_device_and_an_application(shell: Shell) -> None:
    shell.ok("device", "add", "dev1")
    outcome = shell("application", "add", "dev1")
    assert outcome.code == 2
    assert "(conflict)" in outcome.err


def test_an_application_with_keys_has_no_secret_and_is_not_public(
    shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "backend.jwks"
    file.write_bytes(jwks_of(SigningKey.generate()))
    assert "client_secret" not in shell.json("application", "add", "backend", "--jwks", str(file))
    assert shell.json("application", "list") == [
        {"client_id": "backend", "public": False, "grant_types": "password"}
    ]
    assert "other keys" in shell.ok("application", "set-jwks", "backend", str(file)).out
    for arguments in (("add", "a", "--public", "--jwks", str(file)), ("set-jwks", "b", str(file))):
        assert shell("application", *arguments).code == 2

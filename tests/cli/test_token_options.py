# SPDX-License-Identifier: Apache-2.0
"""What a client's tokens are, by the options that say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfob.tokens.sign import SigningKey
from tests.cli.commands import Shell
from tests.server.assertions import jwks_of


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], None),
        (["--opaque"], "opaque"),
        (["--jwt"], "jwt"),
        (["--dpop"], "dpop"),
        (["--opaque", "--dpop"], "opaque dpop"),
        (["--proof-key", "symmetric"], "symmetric-key"),
    ],
)
def test_a_device_is_registered_for_its_tokens_and_shown_with_them(
    shell: Shell, options: list[str], shown: str | None
) -> None:
    shell.ok("device", "add", "dev1", *options)
    assert shell.json("device", "show", "dev1")["tokens"] == shown
    assert (shown or "the server's") in shell.ok("device", "show", "dev1").out


def test_tokens_are_bound_to_a_registered_key(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "dev1.jwks").write_bytes(jwks_of(SigningKey.generate()))
    keys = ["--jwks", str(tmp_path / "dev1.jwks"), "--proof-key", "registered"]
    shell.ok("device", "add", "dev1", *keys)
    assert shell.json("device", "show", "dev1")["tokens"] == "jwk-key"


@pytest.mark.parametrize(
    "options",
    [
        ["--proof-key", "registered"],
        ["--proof-key", "symmetric", "--jwt"],
        ["--proof-key", "symmetric", "--dpop"],
    ],
)
def test_what_does_not_go_together_is_misuse(shell: Shell, options: list[str]) -> None:
    assert "config_invalid" in shell("device", "add", "dev1", *options).err
    assert shell.json("device", "list") == []


def test_tokens_are_changed_and_changed_back(shell: Shell) -> None:
    shell.ok("device", "add", "dev1")
    said = shell.ok("device", "set-tokens", "dev1", "--opaque", "--dpop").out
    assert said == "dev1: its next tokens are opaque dpop\n"
    assert shell.json("device", "set-tokens", "dev1")["tokens"] is None
    assert "not_found" in shell("device", "set-tokens", "dev2").err


def test_an_application_is_registered_for_its_tokens(shell: Shell) -> None:
    answer = shell.json("application", "add", "app", "--public", "--opaque", "--dpop")
    assert answer["grant_types"] == "password"

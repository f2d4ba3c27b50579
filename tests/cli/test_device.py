# SPDX-License-Identifier: Apache-2.0
"""`keyfob device`: what each command does, says and returns."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from keyfob.tokens.sign import SigningKey
from tests.cli.commands import Shell

SECRET = re.compile(r"kfs_[A-Za-z0-9_-]{43}")


def test_add_prints_identifier_secret_and_scope(shell: Shell) -> None:
    out = shell.ok("device", "add", "dev1", "--publish", "d/{device}/#", "--subscribe", "s/+").out
    names, values = zip(*(line.split(None, 1) for line in out.splitlines()), strict=True)
    assert names == ("client_id", "client_secret", "scope")
    assert values[0] == "dev1"
    assert SECRET.fullmatch(values[1])
    assert values[2] == "mqtt.connect mqtt.publish:d/dev1/# mqtt.subscribe:s/+"


def test_add_as_json_is_one_document_with_the_same_members(shell: Shell) -> None:
    answer = shell.json("device", "add", "dev1", "--scope", "own", "--lifetime", "60")
    assert set(answer) == {"client_id", "client_secret", "scope"}
    assert answer["scope"] == "mqtt.connect own"
    assert shell.json("device", "show", "dev1")["lifetime"] == 60


def test_options_may_be_repeated(shell: Shell) -> None:
    answer = shell.json("device", "add", "dev1", "--publish", "a", "--publish", "b")
    assert answer["scope"] == "mqtt.connect mqtt.publish:a mqtt.publish:b"


def test_list_is_aligned_and_says_when_a_device_had_no_token_yet(shell: Shell) -> None:
    for device in ("a", "a-device-with-a-long-name"):
        shell.ok("device", "add", device)
    shell.ok("device", "disable", "a")
    head, *rows = shell.ok("device", "list").out.splitlines()
    assert head.split() == ["ID", "STATE", "REGISTERED", "LAST", "TOKEN"]
    assert [row.split()[:2] for row in rows] == [
        ["a", "disabled"],
        ["a-device-with-a-long-name", "active"],
    ]
    for name in ("STATE", "REGISTERED", "LAST TOKEN"):
        column = head.index(name)
        assert all(row[column - 1] == " " and row[column] != " " for row in rows)
    assert all(row.endswith("never") for row in rows)


def test_an_empty_list_says_what_to_type(shell: Shell) -> None:
    assert "keyfob device add ID --dir" in shell.ok("device", "list").out
    assert shell.json("device", "list") == []


def test_show_says_state_scope_and_lifetime_but_no_secret(shell: Shell) -> None:
    secret = shell.secret("dev1", "--publish", "a/#")
    out = shell.ok("device", "show", "dev1").out
    assert "active" in out
    assert "mqtt.publish:a/#" in out
    assert "None" not in out
    assert secret not in out
    shown = shell.json("device", "show", "dev1")
    assert shown["lifetime"] is None
    assert shown["last_token_at"] is None


def test_disable_and_enable_change_the_state_and_may_be_repeated(shell: Shell) -> None:
    shell.ok("device", "add", "dev1")
    for _ in range(2):
        assert "is disabled" in shell.ok("device", "disable", "dev1").out
        assert shell.json("device", "show", "dev1")["state"] == "disabled"
    for _ in range(2):
        assert "is enabled" in shell.ok("device", "enable", "dev1").out
        assert shell.json("device", "show", "dev1")["state"] == "active"


def test_remove_forgets_the_device(shell: Shell) -> None:
    shell.ok("device", "add", "dev1")
    assert shell.json("device", "remove", "dev1") == {"client_id": "dev1", "removed": True}
    assert shell.json("device", "list") == []


def test_rotate_secret_shows_another_secret(shell: Shell) -> None:
    secret = shell.secret("dev1")
    rotated = shell.json("device", "rotate", "dev1")["client_secret"]
    assert SECRET.fullmatch(rotated)
    assert rotated != secret


@pytest.mark.parametrize("command", ["show", "disable", "enable", "remove", "rotate"])
def test_an_unknown_device_is_misuse_that_names_it(shell: Shell, command: str) -> None:
    outcome = shell("device", command, "nobody")
    assert outcome.code == 2
    assert outcome.out == ""
    assert "'nobody'" in outcome.err
    assert "(not_found)" in outcome.err
    as_json = shell("device", command, "nobody", "--json")
    assert as_json.code == 2
    assert as_json.err == ""
    assert as_json.json["error"] == "not_found"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("a b",), "config_invalid"),
        (("auto-1",), "config_invalid"),
        (("taken",), "conflict"),
        (("d", "--publish", "a/#/b"), "topic_invalid"),
        (("d", "--subscribe", ""), "topic_invalid"),
        (("d", "--lifetime", "0"), "config_invalid"),
        (("d", "--scope", 'a"b'), "config_invalid"),
    ],
)
def test_what_cannot_be_registered_is_misuse_and_registers_nothing(
    shell: Shell, arguments: tuple[str, ...], code: str
) -> None:
    shell.ok("device", "add", "taken")
    outcome = shell("device", "add", *arguments, "--json")
    assert outcome.code == 2
    assert outcome.json["error"] == code
    assert [device["client_id"] for device in shell.json("device", "list")] == ["taken"]


def key_file(path: Path, *keys: SigningKey) -> str:
    path.write_text(json.dumps({"keys": [key.public_jwk() for key in keys]}))
    return str(path)


def test_a_device_with_keys_has_no_secret_to_show(shell: Shell, tmp_path: Path) -> None:
    key = SigningKey.generate("EdDSA")
    file = key_file(tmp_path / "dev1.jwks", key)
    answer = shell.json("device", "add", "dev1", "--jwks", file, "--publish", "a")
    assert answer == {
        "client_id": "dev1",
        "authentication": "private_key_jwt",
        "keys": f"{key.kid}:Ed25519",
        "scope": "mqtt.connect mqtt.publish:a",
    }
    shown = shell.json("device", "show", "dev1")
    assert (shown["authentication"], shown["keys"]) == ("private_key_jwt", f"{key.kid}:Ed25519")
    outcome = shell("device", "rotate-secret", "dev1", "--json")
    assert (outcome.code, outcome.json["error"]) == (2, "conflict")


def test_set_jwks_adds_keys_to_a_secret_and_replaces_it_when_told(
    shell: Shell, tmp_path: Path
) -> None:
    shell.ok("device", "add", "dev1")
    assert shell.json("device", "show", "dev1")["authentication"] == "client_secret"
    one, two = SigningKey.generate(), SigningKey.generate()
    answer = shell.json("device", "set-jwks", "dev1", key_file(tmp_path / "a", one, two))
    assert answer["authentication"] == "client_secret private_key_jwt"
    assert answer["keys"] == f"{one.kid}:ES256 {two.kid}:ES256"
    answer = shell.json(
        "device", "set-jwks", "dev1", key_file(tmp_path / "b", two), "--remove-secret"
    )
    assert answer["authentication"] == "private_key_jwt"
    assert answer["keys"] == f"{two.kid}:ES256"


def test_a_file_that_is_no_key_set_is_misuse_and_registers_nothing(
    shell: Shell, tmp_path: Path
) -> None:
    private = tmp_path / "private.jwks"
    jwk = SigningKey.generate().public_jwk() | {"d": "c2VjcmV0LXNlY3JldA"}
    private.write_text(json.dumps({"keys": [jwk]}))
    (tmp_path / "text").write_text("no keys")
    for file in (private, tmp_path / "text", tmp_path / "missing", tmp_path):
        outcome = shell("device", "add", "dev1", "--jwks", str(file), "--json")
        assert (outcome.code, outcome.json["error"]) == (2, "config_invalid")
        assert jwk["d"] not in outcome.out + outcome.err
    assert shell.json("device", "list") == []

# SPDX-License-Identifier: Apache-2.0
"""`keyfob mosquitto`: the plugin, and the lines that load it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import Shell


def test_build_makes_the_plugin_and_its_folder(shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    outcome = shell.plain("mosquitto", "build", "--out", str(out))
    assert outcome.code == 0, outcome
    plugin = out / "keyfob_mosquitto.so"
    assert plugin.read_bytes()[:4] == b"\x7fELF"
    assert f"keyfob mosquitto config --plugin {plugin}" in outcome.out


def test_build_without_a_compiler_says_what_to_install(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    outcome = shell.plain("mosquitto", "build", "--out", str(tmp_path), "--json")
    assert outcome.code == 2
    assert "apt install gcc" in outcome.json["message"]


def test_build_into_a_folder_that_cannot_be_is_one_line(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = shell.plain("mosquitto", "build", "--out", str(tmp_path / "file"))
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1


def test_config_names_plugin_and_socket(shell: Shell) -> None:
    lines = shell.ok("mosquitto", "config", "--plugin", "/opt/p.so").out.splitlines()
    assert lines[:3] == [
        "per_listener_settings false",
        "allow_anonymous false",
        "plugin /opt/p.so",
    ]
    assert f"plugin_opt_guard_socket {shell.directory / 'run/guard.sock'}" in lines
    assert shell.json("mosquitto", "config", "--plugin", "/opt/p.so") == {"mosquitto.conf": lines}
    named = shell.ok("mosquitto", "config", "--broker-name", "berlin").out
    assert "plugin_opt_broker_name berlin" in named


def test_config_says_the_mode_that_was_asked_for(shell: Shell) -> None:
    assert "plugin_opt_mode exclusive" in shell.ok("mosquitto", "config").out.splitlines()
    mixed = shell.ok("mosquitto", "config", "--mode", "mixed").out.splitlines()
    assert "plugin_opt_mode mixed" in mixed
    assert shell("mosquitto", "config", "--mode", "both").code == 2


def test_config_says_what_the_section_says_of_the_plugin(shell: Shell) -> None:
    lines = shell.ok("mosquitto", "config").out.splitlines()
    assert "plugin_opt_decisions auto" in lines
    assert "plugin_opt_guard_timeout_ms 200" in lines
    assert "plugin_opt_exchange_timeout_ms 30000" in lines
    path = shell.directory / "keyfob.toml"
    text = path.read_text(encoding="utf-8")
    section = (
        '[mosquitto]\ndecisions = "blocking"\nguard_timeout_ms = 350\nexchange_timeout_ms = 4000\n'
    )
    path.write_text(text.replace("[mosquitto]\n", section), encoding="utf-8")
    lines = shell.ok("mosquitto", "config").out.splitlines()
    assert "plugin_opt_decisions blocking" in lines
    assert "plugin_opt_guard_timeout_ms 350" in lines
    assert "plugin_opt_exchange_timeout_ms 4000" in lines


def test_config_refuses_what_would_be_another_line(shell: Shell) -> None:
    outcome = shell("mosquitto", "config", "--broker-name", "a\nallow_anonymous true")
    assert outcome.code == 2
    assert outcome.out == ""

# SPDX-License-Identifier: Apache-2.0
"""Compiling the plugin: what comes out, what is kept, and what is said when it does not work."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.build import build_plugin, compile_plugin
from keyfob.errors import ConfigError

# src/linker.syms of Mosquitto 2.0.11, without what reads and writes properties
EXPORTED_BY_2_0_11 = {
    "mosquitto_broker_publish",
    "mosquitto_broker_publish_copy",
    "mosquitto_callback_register",
    "mosquitto_callback_unregister",
    "mosquitto_calloc",
    "mosquitto_client_address",
    "mosquitto_client_certificate",
    "mosquitto_client_clean_session",
    "mosquitto_client_id",
    "mosquitto_client_keepalive",
    "mosquitto_client_protocol",
    "mosquitto_client_protocol_version",
    "mosquitto_client_sub_count",
    "mosquitto_client_username",
    "mosquitto_free",
    "mosquitto_kick_client_by_clientid",
    "mosquitto_kick_client_by_username",
    "mosquitto_log_printf",
    "mosquitto_malloc",
    "mosquitto_realloc",
    "mosquitto_set_username",
    "mosquitto_strdup",
    "mosquitto_topic_matches_sub",
    "mosquitto_validate_utf8",
}


def symbols(library: Path, kind: str) -> set[str]:
    listing = subprocess.run(
        ["nm", "-D", f"--{kind}-only", library], check=True, capture_output=True, text=True
    )
    return {line.split()[-1] for line in listing.stdout.splitlines()}


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_plugin(tmp_path_factory.mktemp("plugin"))


def test_the_plugin_shows_the_broker_its_three_entry_points_and_nothing_else(plugin: Path) -> None:
    assert symbols(plugin, "defined") == {
        "mosquitto_plugin_version",
        "mosquitto_plugin_init",
        "mosquitto_plugin_cleanup",
    }


def test_the_plugin_needs_nothing_that_mosquitto_2_0_lacks(plugin: Path) -> None:
    """What only 2.1 has is looked up at run time, so that one file loads in both."""
    wanted = {name for name in symbols(plugin, "undefined") if "mosquitto" in name}
    assert wanted <= EXPORTED_BY_2_0_11


def test_a_broker_that_runs_as_another_user_can_load_it(plugin: Path) -> None:
    assert plugin.stat().st_mode & 0o777 == 0o755


def test_no_path_of_the_building_machine_gets_into_it(plugin: Path) -> None:
    assert str(plugin.parent).encode() not in plugin.read_bytes()


def test_what_is_built_already_needs_no_compiler(plugin: Path) -> None:
    before = plugin.stat()
    assert build_plugin(plugin.parent, compiler="no-such-compiler") == plugin
    assert plugin.stat() == before


def test_other_flags_make_another_file_and_leave_the_first(tmp_path: Path) -> None:
    first = build_plugin(tmp_path, extra_flags=["-O0"])
    second = build_plugin(tmp_path, extra_flags=["-O0", "-DKEYFOB_SOMETHING"])
    assert first != second
    assert {first, second} == set(tmp_path.iterdir())


def test_a_sanitized_plugin_carries_the_sanitizers(tmp_path: Path) -> None:
    wanted = symbols(build_plugin(tmp_path, sanitize=True), "undefined")
    assert any(name.startswith("__asan_") for name in wanted)
    assert any(name.startswith("__ubsan_") for name in wanted)


def test_without_a_compiler_the_error_names_the_package_to_install(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="apt install gcc"):
        build_plugin(tmp_path, compiler="no-such-compiler")
    assert list(tmp_path.iterdir()) == []


def test_the_environment_names_another_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -m32")
    with pytest.raises(ConfigError, match="no-such-compiler is not installed"):
        build_plugin(tmp_path)


def test_a_failed_build_says_why_and_leaves_the_old_plugin_alone(tmp_path: Path) -> None:
    target = tmp_path / "plugin.so"
    target.write_bytes(b"old")
    with pytest.raises(ConfigError, match=r"no-such-header\.h"):
        compile_plugin(target, extra_flags=["-include", "no-such-header.h"])
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_build_replaces_the_file_and_never_writes_into_it(tmp_path: Path) -> None:
    """A running broker has the old file mapped: writing into it would crash the broker."""
    target = tmp_path / "plugin.so"
    target.write_bytes(b"old")
    with target.open("rb") as mapped:
        compile_plugin(target)
        assert mapped.read() == b"old"
    assert target.read_bytes().startswith(b"\x7fELF")


def test_a_directory_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot write"):
        build_plugin(tmp_path / "missing")

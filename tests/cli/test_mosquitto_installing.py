# SPDX-License-Identifier: Apache-2.0
"""`keyfob mosquitto install` and `uninstall`: asked for, tried with the real broker, undone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyfob.brokers.mosquitto.build import compile_plugin
from keyfob.cli import mosquitto_installing
from tests.cli.commands import Outcome, Shell

MAIN = "persistence true\npersistence_location /nowhere/\ninclude_dir {folder}/conf.d\n"


class Machine:
    """A Mosquitto's configuration in a folder that whom it becomes may enter."""

    def __init__(self, folder: Path, shell: Shell) -> None:
        self.folder, self.shell = folder, shell
        self.conf, self.snippet = folder / "mosquitto.conf", folder / "conf.d" / "keyfob.conf"
        self.plugin = folder / "lib" / "keyfob_mosquitto.so"
        self.snippet.parent.mkdir()
        self.conf.write_text(MAIN.format(folder=folder), encoding="utf-8")

    def install(self, *arguments: str) -> Outcome:
        where = ("--conf", str(self.conf), "--plugin", str(self.plugin))
        return self.shell("mosquitto", "install", *where, *arguments)

    def uninstall(self, *arguments: str) -> Outcome:
        return self.shell.plain("mosquitto", "uninstall", "--conf", str(self.conf), *arguments)

    def state(self) -> dict[str, tuple[int, int, bytes]]:
        """Every file: which it is, its mode, its content."""
        files = (file for file in self.folder.rglob("*") if file.is_file())
        return {
            str(file): (file.stat().st_ino, file.stat().st_mode, file.read_bytes())
            for file in files
        }


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plugin = tmp_path_factory.mktemp("built") / "keyfob_mosquitto.so"
    compile_plugin(plugin)
    return plugin


@pytest.fixture
def machine(shell: Shell, built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    def provide(target: Path) -> None:  # what the compiler would make anew for each test
        target.write_bytes(built.read_bytes())
        target.chmod(0o755)

    monkeypatch.setattr(mosquitto_installing, "provide_plugin", provide)
    with tempfile.TemporaryDirectory(prefix="keyfob-install-") as made:
        Path(made).chmod(0o755)
        yield Machine(Path(made), shell)


def test_installing_starts_the_broker_with_it_and_doing_so_again_changes_nothing(
    machine: Machine,
) -> None:
    before = machine.state()
    outcome = machine.install("--yes")
    assert outcome.code == 0, outcome
    assert "Mosquitto starts with them" in outcome.out
    text = machine.snippet.read_text(encoding="utf-8")
    assert f"\nplugin {machine.plugin}\nplugin_opt_guard_socket /" in text
    assert "allow_anonymous false" in text

    after = machine.state()
    again = machine.install("--yes")
    assert again.code == 0
    assert again.out.startswith("nothing to do")
    assert machine.state() == after

    assert machine.uninstall("--yes").code == 0
    assert machine.state() == before
    assert machine.uninstall("--yes").out == "nothing to do\n"


def test_a_dry_run_says_what_it_would_do_and_does_nothing(machine: Machine) -> None:
    before = machine.state()
    outcome = machine.install("--dry-run")
    assert outcome.code == 0
    assert f"would put the plugin at {machine.plugin}" in outcome.out
    assert f"would write {machine.snippet}" in outcome.out
    assert machine.state() == before
    machine.install("--yes")
    installed = machine.state()
    outcome = machine.uninstall("--dry-run")
    assert f"would remove {machine.snippet}" in outcome.out
    assert f"would remove {machine.plugin}" in outcome.out
    assert machine.state() == installed


def test_without_a_terminal_and_without_yes_nothing_is_done(machine: Machine) -> None:
    before = machine.state()
    outcome = machine.install()
    assert outcome.code == 2
    assert "--yes" in outcome.err
    assert machine.state() == before
    machine.install("--yes")
    installed = machine.state()
    assert machine.uninstall().code == 2
    assert machine.state() == installed


def test_a_broker_that_would_not_start_keeps_what_it_has(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def provide(target: Path) -> None:
        target.write_bytes(b"no plugin")

    monkeypatch.setattr(mosquitto_installing, "provide_plugin", provide)
    before = machine.state()
    outcome = machine.install("--yes")
    assert outcome.code == 2
    assert "Mosquitto does not start with the plugin" in outcome.err
    assert "Unable to load" in outcome.err
    assert machine.state() == before


def test_the_brokers_own_prefix_reaches_the_plugin(machine: Machine) -> None:
    with machine.conf.open("a", encoding="utf-8") as file:
        file.write("auto_id_prefix thing-\n")
    assert machine.install("--yes").code == 0
    assert "plugin_opt_auto_id_prefix thing-" in machine.snippet.read_text(encoding="utf-8")


def test_installing_again_keeps_the_mode_unless_another_is_named(machine: Machine) -> None:
    assert machine.install("--yes", "--mode", "mixed").code == 0
    assert "plugin_opt_mode mixed" in machine.snippet.read_text(encoding="utf-8")
    assert machine.install("--yes").out.startswith("nothing to do")
    assert machine.install("--yes", "--mode", "exclusive").code == 0
    assert "plugin_opt_mode exclusive" in machine.snippet.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("per_listener_settings true", "per_listener_settings"),
        ("plugin /elsewhere/keyfob_mosquitto.so", "loads the plugin already"),
    ],
)
def test_what_stands_elsewhere_is_not_worked_around(line: str, why: str, machine: Machine) -> None:
    machine.conf.write_text(line + "\n" + machine.conf.read_text(), encoding="utf-8")
    before = machine.state()
    outcome = machine.install("--yes")
    assert outcome.code == 2
    assert why in outcome.err
    assert f"{machine.conf}:1" in outcome.err
    assert machine.state() == before


def test_a_file_of_the_same_name_that_somebody_else_wrote_stays(machine: Machine) -> None:
    machine.snippet.write_text("# mine\n", encoding="utf-8")
    before = machine.state()
    assert "was not made by this command" in machine.install("--yes").err
    assert machine.uninstall("--yes").out == "nothing to do\n"
    assert machine.state() == before


def test_a_configuration_that_includes_nothing_is_left_alone(machine: Machine) -> None:
    machine.conf.write_text("persistence true\n", encoding="utf-8")
    outcome = machine.install("--yes")
    assert outcome.code == 2
    assert "no include_dir" in outcome.err


def test_uninstalling_leaves_a_file_that_is_not_the_plugin(machine: Machine) -> None:
    machine.install("--yes")
    machine.plugin.write_bytes(b"something else")
    machine.uninstall("--yes")
    assert machine.plugin.read_bytes() == b"something else"
    assert not machine.snippet.exists()

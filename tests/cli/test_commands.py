# SPDX-License-Identifier: Apache-2.0
"""The list of commands, and what is loaded for each."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest
from typer.main import get_command

from keyfob.cli.commands import COMMANDS, Place
from keyfob.cli.main import app
from tests.cli.commands import Shell

_LOADED = """
import sys
from keyfob.cli.main import run
code = run(sys.argv[1:])
print(*sorted(name for name in sys.modules if name.startswith("keyfob.")), file=sys.stderr)
sys.exit(code)
"""


def module_of(place: Place) -> str:
    return "keyfob.cli." + place.at.partition(":")[0]


def loaded_by(*arguments: str) -> set[str]:
    """What of Keyfob a process has loaded that ran one command."""
    outcome = subprocess.run(
        [sys.executable, "-c", _LOADED, *arguments], capture_output=True, text=True, check=False
    )
    return set(outcome.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_its_name_and_a_line_in_the_list(name: str) -> None:
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    assert command.name == name
    assert command.hidden == COMMANDS[name].hidden
    line = command.get_short_help_str(200)
    assert line.endswith(".")
    assert len(line) < 60


@pytest.mark.parametrize(("name", "place"), COMMANDS.items())
def test_a_command_works_on_a_register_wherever_it_is_or_says_why_not(
    name: str, place: Place
) -> None:
    module = import_module(module_of(place))
    opened = [one for one in vars(module).values() if _is_of_target(one)]
    assert bool(opened) == (not place.here), name


def _is_of_target(value: object) -> bool:
    return getattr(value, "__module__", "") == "keyfob.cli.target"


@pytest.mark.parametrize("name", ["pub", "sub", "token", "login", "doctor", "guard"])
def test_what_devices_and_guards_run_loads_nothing_of_the_server(name: str) -> None:
    loaded = loaded_by(name, "--help")
    assert module_of(COMMANDS[name]) in loaded
    assert [one for one in loaded if one.startswith("keyfob.server")] == []


def test_no_command_is_loaded_for_the_version_or_a_word_that_is_none() -> None:
    for words in (["--version"], ["subscribe"]):
        loaded = loaded_by(*words)
        assert "keyfob.cli.main" in loaded
        assert loaded.isdisjoint(map(module_of, COMMANDS.values()))


def test_a_word_that_is_none_is_told_with_those_like_it(shell: Shell) -> None:
    outcome = shell.plain("devise", "list")
    assert outcome.code == 2
    assert "'device'" in outcome.err

# SPDX-License-Identifier: Apache-2.0
"""The Mosquittos of the matrix: the one that is installed, and those of newer Debian suites."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.running import broker_version

INSTALLED = "installed"
NEXT, NEWEST = "trixie", "sid"
MOSQUITTOS = (INSTALLED, NEXT, NEWEST)

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "newer-mosquitto"
CANNOT_HAVE = 69


class CannotHaveError(Exception):
    """This machine cannot have that Mosquitto; the message says why."""


def cached(suite: str) -> Path | None:
    """The program of a suite, if it was fetched before."""
    program = ROOT / ".cache" / "debian" / suite / "mosquitto"
    return program if program.exists() else None


def program_of(name: str, show: Callable[[str], object]) -> str:
    """The program of one of `MOSQUITTOS`; it is fetched first where it is not there yet."""
    if name == INSTALLED:
        return "mosquitto"
    said = ["it said nothing"]
    command = [str(SCRIPT), name]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line.strip())
            show(line)
        program = process.stdout.read().strip()
    if process.returncode == CANNOT_HAVE:
        raise CannotHaveError(said[-1].removeprefix("newer-mosquitto: "))
    assert process.returncode == 0, said[-1]
    return program


def version_of(program: str) -> str:
    """Its version, such as "2.0.11"."""
    return ".".join(str(part) for part in broker_version(program))

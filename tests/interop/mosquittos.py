# SPDX-License-Identifier: Apache-2.0
"""The Mosquittos of the matrix: the one that is installed, and those of newer Debian suites."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.interop.fetched import ROOT, fetched
from tests.running import broker_version

INSTALLED = "installed"
NEXT, NEWEST = "trixie", "sid"
MOSQUITTOS = (INSTALLED, NEXT, NEWEST)

SCRIPT = ROOT / "scripts" / "newer-mosquitto"


def cached(suite: str) -> Path | None:
    """The program of a suite, if it was fetched before."""
    program = ROOT / ".cache" / "debian" / suite / "mosquitto"
    return program if program.exists() else None


def program_of(name: str, show: Callable[[str], object]) -> str:
    """The program of one of `MOSQUITTOS`; it is fetched first where it is not there yet.

    Raises:
        CannotHaveError: This machine cannot have it.
    """
    return "mosquitto" if name == INSTALLED else fetched(SCRIPT, name, show=show)


def version_of(program: str) -> str:
    """Its version, such as "2.0.11"."""
    return ".".join(str(part) for part in broker_version(program))

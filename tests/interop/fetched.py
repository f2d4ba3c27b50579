# SPDX-License-Identifier: Apache-2.0
"""What a script of scripts/ puts into the checkout's .cache: other projects' programs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["CANNOT_HAVE", "ROOT", "CannotHaveError", "fetched"]

ROOT: Final = Path(__file__).parents[2]
CANNOT_HAVE: Final = 69
"""The exit status by which a script says that this machine cannot have a thing."""


class CannotHaveError(Exception):
    """This machine cannot have it; the message says why."""


def fetched(script: Path, *arguments: str, show: Callable[[str], object]) -> str:
    """Run a script that fetches what is not there yet; return the path that it prints.

    Raises:
        CannotHaveError: This machine cannot have it.
    """
    said = ["it said nothing"]
    with subprocess.Popen(
        [str(script), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line.strip())
            show(line)
        path = process.stdout.read().strip()
    if process.returncode == CANNOT_HAVE:
        raise CannotHaveError(said[-1].removeprefix(f"{script.name}: "))
    assert process.returncode == 0, said[-1]
    return path

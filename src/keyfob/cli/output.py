# SPDX-License-Identifier: Apache-2.0
"""How commands answer: lines for people, one JSON document with ``--json``, and exit codes."""

from __future__ import annotations

import enum
import json
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

import typer
from rich.console import Console
from rich.table import Table

__all__ = ["Exit", "answer", "finish", "table"]


class Exit(enum.IntEnum):
    """Exit codes: 0 allowed or done, 1 refused, 2 misuse or a system that does not work."""

    OK = 0
    REFUSED = 1
    MISUSE = 2


def answer(data: object, text: str, *, as_json: bool) -> None:
    """Print an answer: ``data`` as JSON, or ``text`` for a person."""
    sys.stdout.write((json.dumps(data, ensure_ascii=False, indent=2) if as_json else text) + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out under their columns; plain text, no colour, for terminals and pipes alike."""
    grid = Table(*columns, box=None, pad_edge=False, header_style="")
    for row in rows:
        grid.add_row(*row)
    console = Console(width=200, color_system=None, force_terminal=False, markup=False)
    with console.capture() as capture:
        console.print(grid, soft_wrap=True)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def fields(values: Mapping[str, object]) -> str:
    """Lay names and values out, one a line."""
    width = max(map(len, values), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in values.items())


def finish(code: Exit) -> NoReturn:
    """End the command with this exit code."""
    raise typer.Exit(int(code))

# SPDX-License-Identifier: Apache-2.0
"""How commands answer: lines for people, one JSON document with ``--json``, and exit codes."""

from __future__ import annotations

import enum
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

__all__ = ["Exit", "Json", "answer", "fields", "finish", "here", "print_line", "table"]

Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]


class Exit(enum.IntEnum):
    """Exit codes: 0 allowed or done, 1 refused, 2 misuse or a system that does not work."""

    OK = 0
    REFUSED = 1
    MISUSE = 2


def answer(data: object, text: str, *, as_json: bool) -> None:
    """Print an answer: ``data`` as JSON, or ``text`` for a person."""
    print_line(json.dumps(data, ensure_ascii=False, indent=2) if as_json else text)


def print_line(text: str) -> None:
    """Print to standard output, now; where nobody reads it any more, nothing happens.

    What was done stays done, and its exit code is still the answer, when a reader such as
    ``head`` has seen enough.
    """
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still in the buffer must go somewhere when Python flushes it at the end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out under their columns; plain text, for terminals and pipes alike."""
    lines = [columns, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def fields(values: Mapping[str, object]) -> str:
    """Lay names and values out, one a line; what is None is ``-``."""
    width = max(map(len, values), default=0)
    return "\n".join(
        f"{name:<{width}}  {'-' if value is None else value}" for name, value in values.items()
    )


def here(path: Path) -> str:
    """Return a path as one would type it here: relative where it is below this folder."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere, or this folder is gone
        return str(path)


def finish(code: Exit) -> NoReturn:
    """End the command with this exit code."""
    raise typer.Exit(int(code))

# SPDX-License-Identifier: Apache-2.0
"""Lists that are shown page by page, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from keyfob.cli.output import table

__all__ = ["After", "Limit", "page"]

After = Annotated[str, typer.Option(metavar="ID", help="Begin behind this one: the next page.")]
Limit = Annotated[int, typer.Option(metavar="NUMBER", min=1, max=10_000, help="At most so many.")]


def page(titles: Sequence[str], rows: Sequence[Sequence[str]], *, limit: int, none: str) -> str:
    """Return a page as a table, and where the next one begins if this one is full.

    Args:
        titles: Of its columns; the first is the name.
        rows: What is on it.
        limit: How many rows there may be.
        none: What to say where there are none.
    """
    if not rows:
        return none
    text = table(titles, rows)
    return f"{text}\nmore may follow: --after {rows[-1][0]}" if len(rows) == limit else text

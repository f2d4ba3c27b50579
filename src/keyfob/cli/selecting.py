# SPDX-License-Identifier: Apache-2.0
"""Which devices a command is about, one or many, and how it tells of many."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from keyfob.cli.output import Exit, answer, finish
from keyfob.errors import ConfigError
from keyfob.server.fleet import Chosen, ManyOutcome, Selection
from keyfob.server.groups import check_group_name
from keyfob.server.labels import parse_label
from keyfob.server.stores.fleet import State

__all__ = [
    "Group",
    "InState",
    "Label",
    "Labels",
    "Names",
    "OneOrMany",
    "SecretsOut",
    "answer_many",
    "chosen_of",
    "counting",
    "devices",
    "progress_bar",
    "seconds_of",
    "selected",
]

OneOrMany = Annotated[
    str | None, typer.Argument(metavar="[ID]", help="The device's identifier.", show_default=False)
]
Group = Annotated[str, typer.Option(metavar="GROUP", help="Those in this group.")]
Label = Annotated[str, typer.Option(metavar="KEY=VALUE", help="Those with this label.")]
InState = Annotated[
    str, typer.Option(metavar="STATE", help="Only these: pending, active or disabled.")
]
Labels = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="A label to find it by. May be repeated."),
]
Names = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Those that this file names, one on each line.")
]
SecretsOut = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="A new file for new secrets, .csv or .jsonl."),
]

_TIME: Final = re.compile(r"(\d{1,9})([smhd]?)", re.ASCII)
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds_of(text: str) -> int:
    """Read a time such as ``90``, ``15m``, ``12h`` or ``7d``.

    Raises:
        ConfigError: It is none.
    """
    found = _TIME.fullmatch(text)
    if found is None:
        raise ConfigError(f"{text!r} is not a time such as 90, 15m, 12h or 7d")
    return int(found[1]) * _UNITS[found[2]]


def selected(group: str, label: str, state: str = "") -> Selection:
    """Make a selection of what was typed.

    Raises:
        ConfigError: The group's name, the label or the state is none.
    """
    if group:
        check_group_name(group)
    states: tuple[State, ...] = get_args(State)
    known = next((each for each in states if each == state), None)
    if state and known is None:
        raise ConfigError(f"{state!r} is not a state: pending, active or disabled")
    return Selection(group=group, label=parse_label(label) if label else None, state=known)


def chosen_of(identifier: str | None, group: str, label: str, file: Path | None) -> Chosen:
    """Make a choice of what was typed: one device, a group and a label, or a file.

    Raises:
        ConfigError: There is none of them, or more than one.
    """
    if (identifier is not None) + bool(group or label) + (file is not None) != 1:
        raise ConfigError("name one device, or many with --group and --label, or with --file")
    return Chosen(selection=selected(group, label), names=file)


def devices(count: int) -> str:
    """Return a number of devices with its verb."""
    return "1 device is" if count == 1 else f"{count:,} devices are"


def answer_many(outcome: ManyOutcome, done: str, *, as_json: bool) -> None:
    """Tell what was done to many devices; names that belong to none make it a failure."""
    data = {
        "devices": outcome.done,
        "without_secret": outcome.passed_over,
        "missing": outcome.missing,
        "examples": outcome.examples,
    }
    text = f"{devices(outcome.done)} {done}"
    if outcome.passed_over:
        over = devices(outcome.passed_over)
        text += f"\n{over} passed over: they have keys or a certificate and no secret"
    if outcome.missing:
        names = "1 name belongs" if outcome.missing == 1 else f"{outcome.missing:,} names belong"
        text += f"\n{names} to no device: {', '.join(outcome.examples)}"
    answer(data, text, as_json=as_json)
    if outcome.missing:
        finish(Exit.MISUSE)


@contextmanager
def progress_bar(*, total: int | None, what: str) -> Iterator[Callable[[int], None]]:
    """Show on a terminal, on standard error, how far something is.

    Args:
        total: What it will come to; None: nobody knows.
        what: What is done.

    Yields:
        Takes how much is done.
    """
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %" if total else "{task.completed:,}"),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Show how many are done."""
    with progress_bar(total=None, what=what) as counted:
        yield counted

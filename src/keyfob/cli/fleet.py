# SPDX-License-Identifier: Apache-2.0
"""``keyfob device import`` and ``export``: the register of devices from and to a file."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import typer

from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.output import Json, answer, here
from keyfob.cli.selecting import Group, InState, Label, SecretsOut, devices, progress_bar, selected
from keyfob.cli.target import register_of
from keyfob.errors import ConfigError
from keyfob.server.fleet_import import ImportOutcome
from keyfob.server.fleet_rows import RowReader, format_of, header
from keyfob.server.private_file import PrivateFile

__all__ = ["export", "import_"]

_STANDARD: Final = "-"
Format = Annotated[
    str | None,
    typer.Option("--format", metavar="FORMAT", help="csv or jsonl; else the file's ending says."),
]


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="CSV or JSON lines; - for a pipe.")],
    form: Format = None,
    secrets_out: SecretsOut = None,
    rejects: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where rows go that are not loaded, and why."),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, not where an earlier run ended.")
    ] = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Register the devices of a file, any number of them.

    Interrupted, it goes on where it was when it is run again.
    """
    known = format_of(file, form)
    # Beside the input, or here where it comes from a pipe.
    rejects = rejects or Path("import.rejects.csv" if file == _STANDARD else f"{file}.rejects.csv")
    with (
        register_of(directory) as register,
        _opened(file) as (stream, size),
        PrivateFile(rejects) as rejected,
        contextlib.ExitStack() as stack,
    ):
        secrets = None
        if secrets_out is not None:
            secrets = stack.enter_context(PrivateFile(secrets_out))
        outcome = register.fleet.import_devices(
            RowReader(stream, known),
            rejects=rejected,
            secrets=secrets,
            restart=restart,
            on_progress=stack.enter_context(progress_bar(total=size, what="import")),
        )
        if not rejected.size:
            rejects.unlink()
    _tell(outcome, rejects, secrets_out, as_json=as_json)


def export(
    group: Group = "",
    label: Label = "",
    state: InState = "",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write; else standard output.")
    ] = None,
    form: Format = None,
    directory: Directory = DEFAULT_DIRECTORY,
) -> None:
    """Write devices as CSV or JSON lines, without secrets.

    `keyfob device import` reads it.
    """
    known = format_of(_STANDARD if out is None else str(out), form or (None if out else "csv"))
    selection = selected(group, label, state)
    with register_of(directory) as register, _sink(out) as sink:
        sink.write(header(known).encode())
        for rows in register.fleet.written(selection, known):
            sink.write(rows.encode())


@contextlib.contextmanager
def _opened(file: str) -> Iterator[tuple[BinaryIO, int | None]]:
    if file == _STANDARD:
        yield sys.stdin.buffer, None
        return
    try:
        stream = Path(file).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    with stream:
        yield stream, os.fstat(stream.fileno()).st_size or None


@contextlib.contextmanager
def _sink(out: Path | None) -> Iterator[BinaryIO]:
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with PrivateFile(out) as made:
        made.cut(0)
    with out.open("wb") as stream:
        yield stream


def _tell(
    outcome: ImportOutcome, rejects: Path, secrets_out: Path | None, *, as_json: bool
) -> None:
    data = {
        "registered": outcome.registered,
        "rejected": outcome.rejected,
        "rows_before": outcome.before,
        "rejects": str(rejects) if outcome.rejected else None,
    }
    lines = [f"{devices(outcome.registered)} registered"]
    if outcome.before:
        lines.append(f"{outcome.before:,} rows were done before")
    if outcome.rejected:
        lines.append(f"{outcome.rejected:,} rows were not loaded: {here(rejects)} says why")
    if secrets_out is not None and outcome.registered:
        lines.append(f"their new secrets are in {here(secrets_out)}, and nowhere else")
    answer(data, "\n".join(lines), as_json=as_json)

# SPDX-License-Identifier: Apache-2.0
"""``keyfob database``: the server's database itself: its schema, and moving to PostgreSQL."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.installation import settings_of
from keyfob.cli.output import Exit, Json, answer, finish, table
from keyfob.cli.server_database import server_database
from keyfob.config import SecretReference, database_fault, database_kind
from keyfob.errors import ConfigError
from keyfob.server.stores.copying import copy_register
from keyfob.server.stores.migrating import Standing, check_migrations, run_migrations
from keyfob.server.stores.place import PostgresqlUrl

__all__ = ["app"]

app = typer.Typer(help="Check, migrate and copy the server's database.", no_args_is_help=True)


@app.command()
def check(directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """Show which migrations the database has had, and change nothing.

    Exits with 1 where some are missing.
    """
    standing = check_migrations(server_database(settings_of(directory).settings))
    _answer(standing, as_json=as_json)
    if standing.missing:
        finish(Exit.REFUSED)


@app.command()
def migrate(directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """Apply the migrations that the database has not had: all of them, or none.

    The server does so by itself when it starts, unless `migrate` in [server] is false.
    """
    _answer(run_migrations(server_database(settings_of(directory).settings)), as_json=as_json)


@app.command()
def copy(
    to: Annotated[
        str,
        typer.Option(
            metavar="DATABASE",
            help="An empty PostgreSQL database: its URL, or where that is (env:NAME, file:PATH).",
        ),
    ],
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FILE", help="The SQLite file.  [default: the installation's]"
        ),
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Copy everything from a SQLite file into PostgreSQL, or nothing; the server is stopped before.

    The file stays as it is. Afterwards `database` in [server] names the new one.
    """
    source = server_database(settings_of(directory).settings) if from_ is None else from_
    if not isinstance(source, Path):
        raise ConfigError("the installation's database is in PostgreSQL already; give --from")
    copied = copy_register(source, _target(to), on_table=_telling(as_json=as_json))
    text = table(("TABLE", "ROWS"), [(one.name, str(one.rows)) for one in copied.tables])
    data = {
        "from": copied.source,
        "to": copied.target,
        "tables": [{"name": one.name, "rows": one.rows} for one in copied.tables],
    }
    answer(data, f"{copied.source} is in {copied.target}\n{text}", as_json=as_json)


def _target(text: str) -> PostgresqlUrl:
    """Return where a copy goes.

    Raises:
        ConfigError: It is no PostgreSQL, or has a password, which everybody here could read.
    """
    if (fault := database_fault(text)) is not None:
        raise ConfigError(f"--to {fault}")
    match database_kind(text):
        case "reference":
            text = SecretReference.parse(text, Path.cwd()).read()
        case "file":
            raise ConfigError("--to is no PostgreSQL database; write postgresql://… or env:NAME")
    return PostgresqlUrl.parse(text)


def _telling(*, as_json: bool) -> Callable[[str], None]:
    def tell(name: str) -> None:
        if sys.stderr.isatty() and not as_json:
            sys.stderr.write(f"copying {name}\n")

    return tell


def _answer(standing: Standing, *, as_json: bool) -> None:
    rows = [(name, "applied") for name in standing.applied]
    rows += [(name, "applied now") for name in standing.new]
    rows += [(name, "missing") for name in standing.missing]
    data = {
        "database": standing.name,
        "migrations": [{"name": name, "state": state.replace(" ", "_")} for name, state in rows],
    }
    answer(data, f"{standing.name}\n{table(('MIGRATION', 'STATE'), rows)}", as_json=as_json)

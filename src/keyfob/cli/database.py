# SPDX-License-Identifier: Apache-2.0
"""``keyfob database``: whether the server's database has our schema, and giving it that."""

from __future__ import annotations

import typer

from keyfob.cli.installation import DEFAULT_DIRECTORY, Directory, settings_of
from keyfob.cli.output import Exit, Json, answer, finish, table
from keyfob.cli.server_database import server_database
from keyfob.server.stores.migrating import Standing, check_migrations, run_migrations

__all__ = ["app"]

app = typer.Typer(help="Check and migrate the server's database.", no_args_is_help=True)


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


def _answer(standing: Standing, *, as_json: bool) -> None:
    rows = [(name, "applied") for name in standing.applied]
    rows += [(name, "applied now") for name in standing.new]
    rows += [(name, "missing") for name in standing.missing]
    data = {
        "database": standing.name,
        "migrations": [{"name": name, "state": state.replace(" ", "_")} for name, state in rows],
    }
    answer(data, f"{standing.name}\n{table(('MIGRATION', 'STATE'), rows)}", as_json=as_json)

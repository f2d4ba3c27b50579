# SPDX-License-Identifier: Apache-2.0
"""``keyfob application``: OAuth clients that may use the password grant for devices."""

from __future__ import annotations

from typing import Annotated

import typer

from keyfob.cli.installation import DEFAULT_DIRECTORY, Directory, settings_of
from keyfob.cli.output import answer, fields, table

__all__ = ["app"]

app = typer.Typer(
    help="Register applications that exchange a device's own name and secret for a token.",
    no_args_is_help=True,
)

Identifier = Annotated[str, typer.Argument(metavar="ID", help="The application's client_id.")]
Json = Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")]


@app.command()
def add(
    identifier: Identifier,
    public: Annotated[
        bool, typer.Option("--public", help="It cannot keep a secret, so it has none.")
    ] = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Register an application for the password grant; its secret is shown this once."""
    with settings_of(directory).register() as register:
        issued = register.add_application(identifier, public=public)
    data: dict[str, object] = {"client_id": issued.application.id}
    if issued.secret is not None:
        data["client_secret"] = issued.secret
    data["grant_types"] = "password"
    answer(data, fields(data), as_json=as_json)


@app.command("list")
def list_(directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """List the applications."""
    with settings_of(directory).register() as register:
        applications = register.list_applications()
    rows = [(one.id, "public" if one.public else "confidential") for one in applications]
    text = table(("ID", "KIND"), rows) if rows else "no applications"
    answer([{"client_id": one.id, "public": one.public} for one in applications], text,
           as_json=as_json)  # fmt: skip


@app.command()
def remove(
    identifier: Identifier, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False
) -> None:
    """Remove an application; tokens that devices got through it end in their own time."""
    with settings_of(directory).register() as register:
        register.remove_application(identifier)
    answer({"client_id": identifier, "removed": True}, f"{identifier} is removed", as_json=as_json)

# SPDX-License-Identifier: Apache-2.0
"""``keyfob service``: guards and other resource servers that ask the authorization server."""

from __future__ import annotations

from typing import Annotated

import typer

from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.output import Json, answer, fields, table
from keyfob.cli.target import option_of, register_of
from keyfob.server.admin_scopes import ADMIN_SCOPES
from keyfob.server.clients import SERVICE_SCOPES

__all__ = ["app"]

app = typer.Typer(
    help="Register guards and other services.",
    no_args_is_help=True,
)

Identifier = Annotated[str, typer.Argument(metavar="ID", help="The service's client_id.")]


@app.command()
def add(
    identifier: Identifier,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help=f"What it may do: {', '.join(SERVICE_SCOPES)}. Repeatable."),
    ] = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="It may do all that the admin API offers.")
    ] = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Register one that may do what its scopes name.

    Its secret is shown this once.
    """
    with register_of(directory) as register:
        wanted = (*(scope or ()), *(ADMIN_SCOPES if admin else ()))
        service, secret = register.add_service(identifier, scopes=wanted)
    data = {
        "client_id": service.id,
        "client_secret": secret,
        "scope": " ".join(service.scopes),
    }
    answer(data, fields(data), as_json=as_json)


@app.command("list")
def list_(directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """List the services, with what they may read."""
    with register_of(directory) as register:
        services = register.list_services()
    text = table(("ID", "SCOPE"), [(one.id, " ".join(one.scopes)) for one in services])
    if not services:
        text = f"no services; `keyfob service add ID{option_of(directory)}` registers one"
    answer([{"client_id": one.id, "scope": " ".join(one.scopes)} for one in services], text,
           as_json=as_json)  # fmt: skip


@app.command()
def remove(
    identifier: Identifier, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False
) -> None:
    """Remove a service; it can ask nothing from then on."""
    with register_of(directory) as register:
        register.remove_service(identifier)
    answer({"client_id": identifier, "removed": True}, f"{identifier} is removed", as_json=as_json)

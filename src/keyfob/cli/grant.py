# SPDX-License-Identifier: Apache-2.0
"""``keyfob grant``: which grants a client may use, and for which devices a gateway acts."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.output import Json, answer, fields
from keyfob.cli.target import grants_of
from keyfob.server.client_grants import ClientGrants

__all__ = ["app"]

app = typer.Typer(
    help="Say which grants a client may use.",
    no_args_is_help=True,
)

Identifier = Annotated[str, typer.Argument(metavar="ID", help="A device or an application.")]
GrantType = Annotated[
    str,
    typer.Argument(
        metavar="GRANT",
        help="A grant type, such as token-exchange, jwt-bearer or refresh_token.",
    ),
]
_NONE: Final = "-"


@app.command()
def allow(
    identifier: Identifier,
    grant: GrantType,
    act_for: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="The gateway gets tokens for these devices: a name, or one with a single *, as in"
            " press-7-*. May be repeated; replaces those from before.",
        ),
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Let a client use one more grant.

    Where --act-for is left out, the devices that a gateway acts for stay as they are.
    """
    with grants_of(directory) as known:
        grants = known.allow_grant(identifier, grant, act_for=act_for)
    _answer(grants, as_json=as_json)


@app.command()
def withdraw(
    identifier: Identifier,
    grant: GrantType,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Take a grant from a client; its tokens end in their own time."""
    with grants_of(directory) as known:
        grants = known.withdraw_grant(identifier, grant)
    _answer(grants, as_json=as_json)


@app.command()
def show(
    identifier: Identifier, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False
) -> None:
    """Show which grants a client may use."""
    with grants_of(directory) as known:
        grants = known.show_grants(identifier)
    _answer(grants, as_json=as_json)


def _answer(grants: ClientGrants, *, as_json: bool) -> None:
    data = {
        "client_id": grants.client_id,
        "grant_types": list(grants.grant_types),
        "may_act_for": list(grants.may_act_for),
    }
    shown = {
        "client_id": grants.client_id,
        "grant_types": " ".join(grants.grant_types) or _NONE,
        "may_act_for": " ".join(grants.may_act_for) or _NONE,
    }
    answer(data, fields(shown), as_json=as_json)

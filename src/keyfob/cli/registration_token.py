# SPDX-License-Identifier: Apache-2.0
"""``keyfob registration-token``: initial access tokens, by which clients register themselves."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from keyfob.cli.installation import DEFAULT_DIRECTORY, Directory
from keyfob.cli.output import Json, answer, fields, table
from keyfob.cli.selecting import seconds_of
from keyfob.cli.shown import time_of
from keyfob.cli.target import option_of, registration_tokens_of
from keyfob.errors import ConfigError
from keyfob.server.registration.initial_tokens import Kind, RegistrationToken, Template

__all__ = ["app"]

app = typer.Typer(help="Let clients register themselves (RFC 7591).", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What to call the token.")]


@app.command()
def add(
    name: Name,
    uses: Annotated[
        int, typer.Option("--uses", metavar="NUMBER", help="How many clients it may register.")
    ] = 1,
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="How long it lives: 30m, 12h, 7d.")
    ] = "1d",
    kind: Annotated[
        str, typer.Option("--kind", metavar="KIND", help="What it registers: device, application.")
    ] = "device",
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="TEXT", help="What names of its devices begin with.")
    ] = "",
    publish: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILTER", help="Its devices may publish here; {device} is the device's ID."
        ),
    ] = None,
    subscribe: Annotated[
        list[str] | None,
        typer.Option(metavar="FILTER", help="They may subscribe here; likewise."),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="A scope of your own, for policy tables."),
    ] = None,
    lifetime: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", help="How long their tokens live, if not as all others'."),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="A group that they are put into. May be repeated."),
    ] = None,
    pending: Annotated[
        bool, typer.Option("--pending", help="They get no token before `keyfob device enable`.")
    ] = False,
    grant: Annotated[
        list[str] | None,
        typer.Option(metavar="GRANT", help="A grant that they may use; without: all of the kind."),
    ] = None,
    auth_method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD", help="A way in which they may authenticate; without: all of the kind."
        ),
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Make one; the token is shown this once.

    Whoever has it registers clients at /oauth2/register, as many as --uses says, and never with
    more rights than these options give.
    """
    template = Template(
        kind=_kind(kind),
        prefix=prefix,
        publish=tuple(publish or ()),
        subscribe=tuple(subscribe or ()),
        scopes=tuple(one for text in scope or () for one in text.split()),
        lifetime=lifetime,
        groups=tuple(group or ()),
        pending=pending,
        grant_types=tuple(grant or ()),
        auth_methods=tuple(auth_method or ()),
    )
    with registration_tokens_of(directory) as tokens:
        issued = tokens.add(name, uses=uses, seconds=seconds_of(expires), template=template)
    data = {
        "name": name,
        "initial_access_token": issued.token,
        "uses_left": issued.registration_token.uses_left,
        "expires_at": time_of(issued.registration_token.expires_at),
    }
    answer(data, fields(data), as_json=as_json)


@app.command("list")
def list_(directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """List them; those that are used up or have ended are still there."""
    with registration_tokens_of(directory) as tokens:
        found = tokens.list()
    rows = [
        (one.name, one.template.kind, str(one.uses_left), time_of(one.expires_at)) for one in found
    ]
    text = table(("NAME", "KIND", "USES LEFT", "UNTIL"), rows)
    if not rows:
        option = option_of(directory)
        text = f"none; `keyfob registration-token add NAME{option}` makes one"
    answer([_data(one) for one in found], text, as_json=as_json)


@app.command()
def remove(name: Name, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """Forget one; the clients that it registered stay."""
    with registration_tokens_of(directory) as tokens:
        tokens.remove(name)
    answer({"name": name, "removed": True}, f"{name} is removed", as_json=as_json)


def _data(one: RegistrationToken) -> dict[str, object]:
    return {
        "name": one.name,
        "uses_left": one.uses_left,
        "expires_at": time_of(one.expires_at),
        "created_at": time_of(one.created_at),
        **msgspec.structs.asdict(one.template),
    }


def _kind(text: str) -> Kind:
    if text == "device":
        return "device"
    if text == "application":
        return "application"
    raise ConfigError(f"{text!r} is no kind: device or application")

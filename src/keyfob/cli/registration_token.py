# SPDX-License-Identifier: Apache-2.0
"""``keyfob registration-token``: initial access tokens, by which clients register themselves."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.listing import After, Limit, page
from keyfob.cli.output import Json, answer, fields
from keyfob.cli.right_options import DevicesPublish, DevicesSubscribe, Scope
from keyfob.cli.selecting import seconds_of
from keyfob.cli.shown import time_of
from keyfob.cli.target import option_of, registration_tokens_of
from keyfob.errors import ConfigError
from keyfob.server.registration.initial_tokens import Kind, RegistrationToken, Template

__all__ = ["app"]

app = typer.Typer(help="Let clients register themselves (RFC 7591).", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What to call the token.")]

Uses = Annotated[
    int, typer.Option("--uses", metavar="NUMBER", help="How many clients it may register.")
]
Expires = Annotated[
    str, typer.Option("--expires", metavar="TIME", help="How long it lives: 30m, 12h, 7d.")
]
KindName = Annotated[
    str, typer.Option("--kind", metavar="KIND", help="What it registers: device, application.")
]
Prefix = Annotated[
    str, typer.Option("--prefix", metavar="TEXT", help="What names of its devices begin with.")
]
Lifetime = Annotated[
    int | None,
    typer.Option(metavar="SECONDS", help="How long their tokens live, if not as all others'."),
]
Groups = Annotated[
    list[str] | None,
    typer.Option(metavar="GROUP", help="A group that they are put into. May be repeated."),
]
Pending = Annotated[
    bool, typer.Option("--pending", help="They get no token before `keyfob device enable`.")
]
Grants = Annotated[
    list[str] | None,
    typer.Option(metavar="GRANT", help="A grant that they may use; without: all of the kind."),
]
AuthMethods = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METHOD", help="A way in which they may authenticate; without: all of the kind."
    ),
]


@app.command()
def add(
    name: Name,
    uses: Uses = 1,
    expires: Expires = "1d",
    kind: KindName = "device",
    prefix: Prefix = "",
    publish: DevicesPublish = None,
    subscribe: DevicesSubscribe = None,
    scope: Scope = None,
    lifetime: Lifetime = None,
    group: Groups = None,
    pending: Pending = False,
    grant: Grants = None,
    auth_method: AuthMethods = None,
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
def list_(
    after: After = "",
    limit: Limit = 100,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """List them by name, page by page.

    Those that are used up or have ended are still there.
    """
    with registration_tokens_of(directory) as tokens:
        found = tokens.list(after=after, limit=limit)
    rows = [
        (one.name, one.template.kind, str(one.uses_left), time_of(one.expires_at)) for one in found
    ]
    none = "no such registration tokens"
    if not after:
        none = f"none; `keyfob registration-token add NAME{option_of(directory)}` makes one"
    text = page(("NAME", "KIND", "USES LEFT", "UNTIL"), rows, limit=limit, none=none)
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

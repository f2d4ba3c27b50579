# SPDX-License-Identifier: Apache-2.0
"""``keyfob group``: groups of devices, each a template of rights and a lifetime."""

from __future__ import annotations

from typing import Annotated

import typer

from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.listing import After, Limit, page
from keyfob.cli.output import Json, answer, fields
from keyfob.cli.right_options import DevicesPublish, DevicesSubscribe, Scope
from keyfob.cli.target import option_of, register_of
from keyfob.errors import ConfigError
from keyfob.server.groups import Group

__all__ = ["app"]

app = typer.Typer(help="Groups: rights and lifetimes for many devices.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="GROUP", help="The group's name.")]
Lifetime = Annotated[
    int | None,
    typer.Option(metavar="SECONDS", help="How long tokens live of devices that do not say so."),
]


@app.command()
def add(
    name: Name,
    publish: DevicesPublish = None,
    subscribe: DevicesSubscribe = None,
    scope: Scope = None,
    lifetime: Lifetime = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Make a group."""
    with register_of(directory) as register:
        group = register.fleet.add_group(
            name,
            publish=publish or (),
            subscribe=subscribe or (),
            scopes=scope or (),
            lifetime=lifetime,
        )
    _answer(group, as_json=as_json)


@app.command("list")
def list_(
    after: After = "",
    limit: Limit = 100,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """List the groups by name, page by page."""
    with register_of(directory) as register:
        groups = register.fleet.list_groups(after=after, limit=limit)
    rows = [
        (
            group.name,
            " ".join(group.publish),
            " ".join(group.subscribe),
            "" if group.lifetime is None else str(group.lifetime),
        )
        for group in groups
    ]
    none = "no such groups"
    if not after:
        none = f"no groups; `keyfob group add GROUP{option_of(directory)}` makes one"
    text = page(("GROUP", "PUBLISH", "SUBSCRIBE", "LIFETIME"), rows, limit=limit, none=none)
    answer([_data(group) for group in groups], text, as_json=as_json)


@app.command()
def show(name: Name, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """Show what a group gives."""
    with register_of(directory) as register:
        group = register.fleet.show_group(name)
    _answer(group, as_json=as_json)


@app.command("set")
def set_(
    name: Name,
    publish: DevicesPublish = None,
    subscribe: DevicesSubscribe = None,
    scope: Scope = None,
    lifetime: Lifetime = None,
    clear: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT", help="Give no publish, subscribe, scope or lifetime any more."
        ),
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Change what a group gives, from its devices' next tokens on.

    What is named takes the place of what was; the rest stays.
    """
    given = {"publish": publish, "subscribe": subscribe, "scope": scope, "lifetime": lifetime}
    changes: dict[str, object] = {}
    for what in clear or ():
        if what not in given or given[what] is not None:
            raise ConfigError("--clear takes publish, subscribe, scope or lifetime, not given too")
        changes[what] = None if what == "lifetime" else ()
    for what, value in given.items():
        if value is not None:
            changes[what] = tuple(value) if isinstance(value, list) else value
    if not changes:
        raise ConfigError("say what changes; `keyfob group set --help` tells more")
    if "scope" in changes:
        changes["scopes"] = changes.pop("scope")
    with register_of(directory) as register:
        group = register.fleet.set_group(name, changes)
    _answer(group, as_json=as_json)


@app.command()
def remove(name: Name, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """Remove a group; its devices stay, without what it gave them."""
    with register_of(directory) as register:
        register.fleet.remove_group(name)
    answer({"group": name, "removed": True}, f"{name} is removed", as_json=as_json)


def _answer(group: Group, *, as_json: bool) -> None:
    data = _data(group)
    shown = {
        "group": group.name,
        "publish": " ".join(group.publish) or None,
        "subscribe": " ".join(group.subscribe) or None,
        "scope": " ".join(group.scopes) or None,
        "lifetime": group.lifetime or "the server's",
    }
    answer(data, fields(shown), as_json=as_json)


def _data(group: Group) -> dict[str, object]:
    return {
        "group": group.name,
        "publish": list(group.publish),
        "subscribe": list(group.subscribe),
        "scope": " ".join(group.scopes),
        "lifetime": group.lifetime,
    }

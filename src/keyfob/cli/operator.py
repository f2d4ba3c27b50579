# SPDX-License-Identifier: Apache-2.0
"""``keyfob operator``: people who may approve devices in a browser."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.output import Json, answer, fields, table
from keyfob.cli.shown import time_of
from keyfob.cli.target import operators_of, option_of
from keyfob.errors import ConfigError
from keyfob.server.passwords import MAX_PASSWORD_LENGTH, generate_password

__all__ = ["app"]

app = typer.Typer(
    help="People who sign in, in a browser, to approve devices.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What they type to sign in.")]
Generate = Annotated[
    bool, typer.Option("--generate", help="Make a password, and show it this once.")
]


@app.command()
def add(
    name: Name,
    generate: Generate = False,
    openid: Annotated[
        str | None,
        typer.Option(
            metavar="SUBJECT",
            help="Has no password: signs in by the issuer of [server.openid], as this.",
        ),
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Make an account.

    The password is asked for, or is the first line of standard input where that is no terminal.
    """
    if openid is not None and generate:
        raise ConfigError("--generate and --openid: it is one or the other")
    with operators_of(directory) as operators:
        password = None if openid is not None else _password(generate=generate)
        operators.add(name, password, openid_subject=openid)
    _answer(name, password if generate else None, as_json=as_json)


@app.command("list")
def list_(directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """List the accounts."""
    with operators_of(directory) as operators:
        known = operators.list()
    rows = [
        (one.name, time_of(one.created_at), time_of(one.changed_at), one.openid_subject or "")
        for one in known
    ]
    text = table(("NAME", "SINCE", "CHANGED", "OPENID"), rows)
    if not rows:
        text = f"no operators; `keyfob operator add NAME{option_of(directory)}` makes an account"
    data = [
        {"name": name, "created_at": created, "changed_at": changed, "openid": subject or None}
        for name, created, changed, subject in rows
    ]
    answer(data, text, as_json=as_json)


@app.command("set-password")
def set_password(
    name: Name,
    generate: Generate = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Change a password, and end the account's sessions."""
    with operators_of(directory) as operators:
        password = _password(generate=generate)
        operators.set_password(name, password)
    _answer(name, password if generate else None, as_json=as_json)


@app.command()
def remove(name: Name, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """Remove an account, and end its sessions."""
    with operators_of(directory) as operators:
        operators.remove(name)
    answer({"name": name, "removed": True}, f"{name} is removed", as_json=as_json)


def _answer(name: str, password: str | None, *, as_json: bool) -> None:
    data = {"name": name}
    if password is not None:
        data["password"] = password
    answer(data, fields(data), as_json=as_json)


def _password(*, generate: bool) -> str:
    """Return a password that nobody saw: it is never an argument, which other users could read."""
    if generate:
        return generate_password()
    if not sys.stdin.isatty():
        line = sys.stdin.readline(MAX_PASSWORD_LENGTH + 2)
        return line.removesuffix("\n").removesuffix("\r")
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise ConfigError("these were two different passwords")
    return password

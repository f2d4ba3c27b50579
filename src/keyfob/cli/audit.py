# SPDX-License-Identifier: Apache-2.0
"""``keyfob audit``: who changed what in the register of the authorization server."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.output import Json, answer, table
from keyfob.cli.shown import time_of
from keyfob.cli.target import register_of

__all__ = ["audit"]


def audit(
    identifier: Annotated[
        str, typer.Argument(metavar="[ID]", help="Only what concerned this device or client.")
    ] = "",
    last: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, max=1_000_000, help="So many, the last ones.")
    ] = 100,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Show who changed the register, or approved a device.

    Tokens that were issued or refused stand in a file, as server.audit names it.
    """
    with register_of(directory) as register:
        actions = register.list_actions(last=last, subject=identifier)
    data = [dataclasses.asdict(one) | {"at": time_of(one.at)} for one in actions]
    rows = [
        (time_of(one.at), one.actor, one.action, one.subject, one.result, one.detail)
        for one in actions
    ]
    columns = ("TIME", "WHO", "WHAT", "ID", "RESULT", "DETAIL")
    text = table(columns, rows) if rows else "nothing was changed"
    answer(data, text, as_json=as_json)

# SPDX-License-Identifier: Apache-2.0
"""``keyfob key``: the keys that the authorization server signs tokens with."""

from __future__ import annotations

from typing import Annotated

import typer

from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.output import Json, answer, table
from keyfob.cli.shown import time_of
from keyfob.cli.target import key_register_of
from keyfob.server.signing.key_register import ShownKey
from keyfob.server.signing.timetable import JWKS_MAX_AGE

__all__ = ["app"]

app = typer.Typer(help="List and rotate the server's signing keys.", no_args_is_help=True)


@app.command("list")
def list_(directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """List the signing keys: which signs, which will, which are still published."""
    with key_register_of(directory) as register:
        keys = register.list_keys()
    rows = [
        (
            key.kid,
            key.algorithm,
            key.state,
            time_of(key.signs_from),
            "-" if key.published_until is None else time_of(key.published_until),
            "encrypted" if key.encrypted else "plain",
        )
        for key in keys
    ]
    text = table(("KID", "ALGORITHM", "STATE", "SIGNS FROM", "PUBLISHED UNTIL", "AT REST"), rows)
    if not rows:
        text = "no signing keys yet; the server makes the first one when it starts"
    answer([_data(key) for key in keys], text, as_json=as_json)


@app.command()
def rotate(
    now: Annotated[
        bool, typer.Option("--now", help="The new key signs at once; for emergencies.")
    ] = False,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Make a new signing key; a running server takes it up by itself.

    It is published first, and signs when caches have it; the old one stays published until its
    last token has ended.
    """
    with key_register_of(directory) as register:
        key = register.rotate(at_once=now)
    text = f"{key.kid} is published, and signs from {time_of(key.signs_from)}"
    if now:
        text = (
            f"{key.kid} signs now. Who holds the key set in a cache does not know it, for up to"
            f" {JWKS_MAX_AGE} s: until then new tokens may be refused there.\n"
            "The old key is still published, so that its tokens go on; if others may have it,"
            " `keyfob key remove` ends them"
        )
    answer(_data(key), text, as_json=as_json)


@app.command()
def remove(
    kid: Annotated[str, typer.Argument(metavar="KID", help="The key's name.")],
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Publish a key no longer: every token that it signed ends.

    For a key that others may have, after `keyfob key rotate --now`; or for an announced one that
    shall not sign after all.
    """
    with key_register_of(directory) as register:
        register.remove(kid)
    text = (
        f"{kid} is published no longer; who holds the key set in a cache still takes its tokens,"
        f" for up to {JWKS_MAX_AGE} s"
    )
    answer({"kid": kid, "removed": True}, text, as_json=as_json)


def _data(key: ShownKey) -> dict[str, object]:
    until = key.published_until
    return {
        "kid": key.kid,
        "algorithm": key.algorithm,
        "state": key.state,
        "created_at": time_of(key.created_at),
        "signs_from": time_of(key.signs_from),
        "published_until": None if until is None else time_of(until),
        "encrypted": key.encrypted,
    }

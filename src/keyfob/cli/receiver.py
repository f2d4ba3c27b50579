# SPDX-License-Identifier: Apache-2.0
"""``keyfob receiver``: who is told of revocations by signed events."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.output import Json, answer, fields, table
from keyfob.cli.registers import AnyReceiver
from keyfob.cli.shown import time_of
from keyfob.cli.target import option_of, receivers_of
from keyfob.errors import ConfigError
from keyfob.server.events.receiver import MAX_CA_CHARS, ReceiverStatus

__all__ = ["app"]

app = typer.Typer(help="Say who is told of revocations by signed events.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What you call the receiver.")]


@app.command()
def add(
    name: Name,
    url: Annotated[str, typer.Option(metavar="URL", help="Where events are pushed to (RFC 8935).")],
    audience: Annotated[
        str,
        typer.Option(metavar="TEXT", help="What they carry as aud.  [default: the URL]"),
    ] = "",
    authorization_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Holds the secret that is shown as Authorization: Bearer."
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CA certificates that alone are trusted there."),
    ] = None,
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Add a receiver; a running server takes it up by itself.

    It is told of what is revoked from now on. Both files are read now and not needed later.
    """
    secret = "" if authorization_file is None else _read(authorization_file, 4_096).strip()
    pem = None if ca is None else _read(ca, MAX_CA_CHARS + 1)
    if authorization_file is not None and not secret:
        raise ConfigError(f"{authorization_file}: there is no secret in it")
    with receivers_of(directory) as receivers:
        receiver = receivers.add(name, url=url, audience=audience, secret=secret, ca=pem)
    data = _data(receiver)
    answer(data, fields(data), as_json=as_json)


@app.command("list")
def list_(directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """List the receivers."""
    with receivers_of(directory) as receivers:
        known = receivers.list_receivers()
    rows = [(one.name, one.url, one.audience) for one in known]
    text = table(("NAME", "URL", "AUDIENCE"), rows)
    if not known:
        text = f"no receivers; `keyfob receiver add NAME --url URL{option_of(directory)}` adds one"
    answer([_data(one) for one in known], text, as_json=as_json)


@app.command()
def status(name: Name, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """Show how the deliveries to a receiver go."""
    with receivers_of(directory) as receivers:
        receiver, found = receivers.status(name)
    data = _data(receiver) | _status(found)
    answer(data, fields(data), as_json=as_json)


@app.command()
def remove(name: Name, directory: Directory = DEFAULT_DIRECTORY, as_json: Json = False) -> None:
    """Remove a receiver; what it was not told yet it is never told."""
    with receivers_of(directory) as receivers:
        receivers.remove(name)
    answer({"name": name, "removed": True}, f"{name} is removed", as_json=as_json)


def _read(path: Path, limit: int) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(limit)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a text") from error


def _data(receiver: AnyReceiver) -> dict[str, object]:
    return {
        "name": receiver.name,
        "url": receiver.url,
        "audience": receiver.audience,
        "authorization": "Bearer" if receiver.has_secret else "none",
        "ca": "its own" if receiver.has_ca else "the system's",
        "added_at": time_of(receiver.created_at),
    }


def _status(found: ReceiverStatus) -> dict[str, object]:
    waits = None if found.oldest_at is None else max(0, int(time.time() - found.oldest_at))
    return {
        "pending": found.pending,
        "oldest_seconds": waits,
        "delivered": found.delivered,
        "rejected": found.rejected,
        "expired": found.expired,
        "failures": found.failures,
        "last_delivered_at": _moment(found.last_delivered_at),
        "last_error": found.last_error or None,
        "last_error_at": _moment(found.last_error_at),
    }


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else time_of(seconds)

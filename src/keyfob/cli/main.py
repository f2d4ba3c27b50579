# SPDX-License-Identifier: Apache-2.0
"""``keyfob``: every command, and how its errors are shown.

Exit codes: 0 allowed or done, 1 refused, 2 misuse or a system that does not work.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from keyfob import __version__
from keyfob.cli.chosen_server import ChosenServer, use
from keyfob.cli.commands import COMMANDS, CommandGroup
from keyfob.cli.failures import report
from keyfob.cli.output import print_line
from keyfob.errors import ConfigError

__all__ = ["app", "main", "run"]

app = typer.Typer(
    name="keyfob",
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    # A traceback with local variables would show tokens and secrets.
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print_line(f"keyfob {__version__}")
        raise typer.Exit


@app.callback()
def keyfob(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback has answered
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    server: Annotated[
        str,
        typer.Option(
            metavar="URL",
            envvar="KEYFOB_SERVER",
            help="Work on this server's register, over HTTP, instead of an installation's.",
        ),
    ] = "",
    ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", envvar="KEYFOB_CA", help="Certificates to trust it by."),
    ] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="KEYFOB_CREDENTIALS",
            help="What `keyfob service add --json` printed; else the environment's"
            " KEYFOB_CLIENT_ID and KEYFOB_CLIENT_SECRET.",
        ),
    ] = None,
) -> None:
    """OAuth 2.0 for MQTT: short-lived access tokens for devices, checked by your broker.

    Exit codes: 0 allowed or done, 1 refused, 2 misuse or a system that does not work.
    """
    command = context.invoked_subcommand or ""
    remote = command in COMMANDS and not COMMANDS[command].here
    source = context.get_parameter_source("server")
    typed = source is not None and source.name == "COMMANDLINE"
    if server and typed and not remote:
        raise ConfigError(_refusal(command))
    use(ChosenServer(server, ca, credentials) if remote else ChosenServer())


def _refusal(command: str) -> str:
    why = f"`keyfob {command}` {COMMANDS[command].here}; " if command else ""
    remote = sorted(name for name, place in COMMANDS.items() if not place.here)
    return f"{why}--server goes with: " + ", ".join(remote)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: What was typed after ``keyfob``; None: what this process was started with.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(typed, prog_name="keyfob", standalone_mode=False)
    # Typer's own errors have no common base in all its versions; everything ends as one line.
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        return report(error, as_json="--json" in typed)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the command line."""
    sys.exit(run())


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""``keyfob``: every command, and how its errors are shown.

Exit codes: 0 allowed or done, 1 refused, 2 misuse or a system that does not work.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from keyfob import __version__
from keyfob.cli import (
    application,
    audit,
    config,
    database,
    device,
    explaining,
    fleet,
    grant,
    group,
    guarding,
    inspecting,
    key,
    mosquitto,
    operator,
    receiver,
    serve,
    service,
    token,
    up,
)
from keyfob.cli.failures import report
from keyfob.cli.output import print_line

__all__ = ["app", "main", "run"]

app = typer.Typer(
    name="keyfob",
    no_args_is_help=True,
    rich_markup_mode=None,
    # A traceback with local variables would show tokens and secrets.
    pretty_exceptions_enable=False,
)
app.command("init")(up.init)
app.command("up")(up.up)
app.command("server")(serve.server)
app.command("guard")(guarding.guard)
app.command("guard-worker", hidden=True)(guarding.guard_worker)
app.command("token")(token.token)
app.command("inspect")(inspecting.inspect)
app.command("explain")(explaining.explain)
app.command("audit")(audit.audit)
app.add_typer(device.app, name="device")
fleet.add_to(device.app)
app.add_typer(group.app, name="group")
app.add_typer(application.app, name="application")
app.add_typer(grant.app, name="grant")
app.add_typer(key.app, name="key")
app.add_typer(service.app, name="service")
app.add_typer(receiver.app, name="receiver")
app.add_typer(operator.app, name="operator")
app.add_typer(config.app, name="config")
app.add_typer(database.app, name="database")
app.add_typer(mosquitto.app, name="mosquitto")


def _version(wanted: bool) -> None:
    if wanted:
        print_line(f"keyfob {__version__}")
        raise typer.Exit


@app.callback()
def keyfob(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """OAuth 2.0 for MQTT: short-lived access tokens for devices, checked by your broker.

    Exit codes: 0 allowed or done, 1 refused, 2 misuse or a system that does not work.
    """


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

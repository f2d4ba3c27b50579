# SPDX-License-Identifier: Apache-2.0
"""``keyfob``: every command, and how its errors are shown.

Exit codes: 0 allowed or done, 1 refused, 2 misuse or a system that does not work.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

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
    login,
    mosquitto,
    operator,
    receiver,
    registration_token,
    serve,
    service,
    simulate,
    token,
    up,
)
from keyfob.cli.doctor import command as doctor
from keyfob.cli.failures import report
from keyfob.cli.output import print_line
from keyfob.cli.pubsub.property_words import PropertyCommand
from keyfob.cli.pubsub.publish import pub
from keyfob.cli.pubsub.subscribe import sub
from keyfob.cli.target import Target, use
from keyfob.errors import ConfigError

__all__ = ["HERE", "REMOTE", "app", "main", "run"]

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
app.command("token", short_help="Get a token, or keep one fresh.")(token.token)
app.command("login", short_help="Have somebody approve this device.")(login.login)
app.command("doctor", short_help="Say what is wrong with a device's token and broker.")(
    doctor.doctor
)
app.command("pub", cls=PropertyCommand, short_help="Publish as mosquitto_pub does.")(pub)
app.command("sub", cls=PropertyCommand, short_help="Subscribe as mosquitto_sub does.")(sub)
app.command("inspect", short_help="Show what is in a token, and whether it is good.")(
    inspecting.inspect
)
app.command("simulate", short_help="Tell when a fleet renews its tokens, or run one.")(
    simulate.simulate
)
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
app.add_typer(registration_token.app, name="registration-token")
app.add_typer(operator.app, name="operator")
app.add_typer(config.app, name="config")
app.add_typer(database.app, name="database")
app.add_typer(mosquitto.app, name="mosquitto", short_help="Build and configure the plugin.")


def _version(wanted: bool) -> None:
    if wanted:
        print_line(f"keyfob {__version__}")
        raise typer.Exit


# Those that work on a register, wherever it is.
REMOTE: Final = frozenset(
    {
        *("device", "group", "application", "grant", "key", "service", "receiver"),
        *("registration-token", "operator", "audit"),
    }
)

# Of the others: what they work on, which no admin API reaches.
HERE: Final = MappingProxyType(
    {
        "init": "makes an installation in a folder of this machine",
        "up": "runs an installation of this machine",
        "server": "runs here",
        "guard": "runs here",
        "token": "asks an authorization server as a device; which one, --issuer says",
        "inspect": "judges by the issuers that this machine's configuration trusts",
        "explain": "decides by this machine's configuration and its guard's sessions",
        "login": "asks an authorization server as a device; which one, --issuer says",
        "simulate": "asks as devices, or no server at all",
        "doctor": "asks an authorization server as a device; which one, --issuer says",
        "pub": "asks an authorization server as a device; which one, --issuer says",
        "sub": "asks an authorization server as a device; which one, --issuer says",
        "config": "is about the configuration file of this machine",
        "database": "opens the database itself, before any server does",
        "mosquitto": "is about the Mosquitto of this machine",
    }
)


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
    remote = context.invoked_subcommand in REMOTE
    source = context.get_parameter_source("server")
    typed = source is not None and source.name == "COMMANDLINE"
    if server and typed and not remote:
        raise ConfigError(_refusal(context.invoked_subcommand or ""))
    use(Target(server, ca, credentials) if remote else Target())


def _refusal(command: str) -> str:
    why = f"`keyfob {command}` {HERE[command]}; " if command in HERE else ""
    return f"{why}--server goes with: " + ", ".join(sorted(REMOTE))


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

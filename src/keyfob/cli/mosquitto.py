# SPDX-License-Identifier: Apache-2.0
"""``keyfob mosquitto``: the plugin for a Mosquitto of one's own, and its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyfob.brokers.mosquitto.build import PLUGIN_FILE, compile_plugin
from keyfob.brokers.mosquitto.conf import Mode, PluginSettings, render_plugin
from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.installation import settings_of
from keyfob.cli.mosquitto_doctor import doctor
from keyfob.cli.mosquitto_installing import install, uninstall
from keyfob.cli.output import Json, answer, here

__all__ = ["app"]

app = typer.Typer(
    help="Build and configure the plugin for Mosquitto 2.0 and 2.1.", no_args_is_help=True
)
app.command("doctor")(doctor)
app.command("install")(install)
app.command("uninstall")(uninstall)


@app.command()
def build(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where to put the plugin.", show_default="here")
    ] = Path(),
    as_json: Json = False,
) -> None:
    """Compile the plugin with the machine's C compiler.

    A broker that has an older one loaded keeps it until it is restarted.
    """
    out.mkdir(parents=True, exist_ok=True)
    plugin = out.absolute() / PLUGIN_FILE
    compile_plugin(plugin)
    text = f"{here(plugin)} is ready\nnext: keyfob mosquitto config --plugin {plugin}"
    answer({"plugin": str(plugin)}, text, as_json=as_json)


@app.command()
def config(
    plugin: Annotated[
        Path, typer.Option(metavar="FILE", help="The plugin, where the broker will find it.")
    ] = Path("/usr/lib/keyfob") / PLUGIN_FILE,
    broker_name: Annotated[
        str, typer.Option(metavar="NAME", help="Tells brokers apart that share a guard.")
    ] = "mosquitto",
    mode: Annotated[
        Mode,
        typer.Option(
            help="`mixed`: what is no token is left to the broker's other ways in "
            "(password_file, dynamic-security, another plugin)."
        ),
    ] = "exclusive",
    directory: Directory = DEFAULT_DIRECTORY,
    as_json: Json = False,
) -> None:
    """Print the lines for mosquitto.conf that load the plugin."""
    settings = settings_of(directory).settings
    rendered = render_plugin(
        PluginSettings(
            plugin=plugin.absolute(),
            guard_socket=settings.guard.socket,
            decisions=settings.mosquitto.decisions,
            mode=mode,
            guard_timeout_ms=settings.mosquitto.guard_timeout_ms,
            exchange_timeout_ms=settings.mosquitto.exchange_timeout_ms,
            broker_name=broker_name,
        )
    )
    lines = f"per_listener_settings false\nallow_anonymous false\n{rendered}"
    answer({"mosquitto.conf": lines.splitlines()}, lines.rstrip(), as_json=as_json)

# SPDX-License-Identifier: Apache-2.0
"""``keyfob mosquitto``: the plugin for a Mosquitto of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keyfob.brokers.mosquitto.build import build_plugin
from keyfob.cli.output import answer

__all__ = ["app"]

app = typer.Typer(help="Build the plugin for Mosquitto 2.0 and 2.1.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep ``build`` a subcommand although it is the only one."""


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="The folder to put the plugin into.")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")] = False,
) -> None:
    """Compile the plugin with the machine's C compiler and say how to configure it."""
    plugin = build_plugin(out.absolute())
    lines = [
        f"{plugin}",
        "",
        "In mosquitto.conf:",
        f"  plugin {plugin}",
        "  plugin_opt_guard_socket /path/to/keyfob-data/run/guard.sock",
        "  allow_anonymous false",
    ]
    answer({"plugin": str(plugin)}, "\n".join(lines), as_json=as_json)

# SPDX-License-Identifier: Apache-2.0
"""What ``keyfob up`` keeps running: the authorization server, the guard and a managed Mosquitto."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from pathlib import Path

from keyfob.brokers.mosquitto.build import build_plugin
from keyfob.brokers.mosquitto.conf import MosquittoSettings, render
from keyfob.cli.installation import Installation
from keyfob.cli.supervisor import START_TIMEOUT, Child
from keyfob.errors import ConfigError

__all__ = ["children"]


def children(installation: Installation) -> list[Child]:
    """Return the programs to run, in the order of their start.

    Mosquitto comes last: the guard must be there to tell it who may come back.

    Raises:
        ConfigError: Mosquitto or a C compiler is missing, or the configuration is wrong.
    """
    run = installation.directory / "run"
    own = [sys.executable, "-m", "keyfob.cli.main"]
    where = ["--dir", str(installation.directory)]
    commands = {
        "server": ([*own, "server", *where], "ready at "),
        "guard": ([*own, "guard", *where], "ready at "),
        # Mosquitto 2.1 says first: "running mosquitto as user: root".
        "mosquitto": (_mosquitto(installation), r"version \S+ running$"),
    }
    # A guard waits for issuers, and then its workers do.
    guard_waits = 2 * installation.settings.guard.ready_timeout
    return [
        Child(
            name=name,
            command=command,
            ready_line=ready,
            pid_file=run / f"{name}.pid",
            ready_within=START_TIMEOUT + (guard_waits if name == "guard" else 0.0),
        )
        for name, (command, ready) in commands.items()
    ]


def _mosquitto(installation: Installation) -> list[str]:
    settings = installation.settings
    # Debian keeps servers where a person's PATH does not lead.
    search = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"
    program = shutil.which(settings.mosquitto.program, path=search)
    if program is None:
        raise ConfigError(
            f"no program {settings.mosquitto.program!r}: install Mosquitto (Debian: apt-get "
            f"install mosquitto) or set mosquitto.program in {settings.path}"
        )
    folder = settings.mosquitto.directory
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    plugin = build_plugin(folder)
    configuration = folder / "mosquitto.conf"
    configuration.write_text(render(_settings(installation, plugin)), encoding="utf-8")
    return [program, "-c", str(configuration)]


def _settings(installation: Installation, plugin: Path) -> MosquittoSettings:
    settings, directory = installation.settings, installation.directory
    mosquitto = settings.mosquitto
    return MosquittoSettings(
        host=mosquitto.host,
        port=mosquitto.port,
        plain_port=mosquitto.plain_port or None,
        websockets_port=mosquitto.websockets_port or None,
        ca_file=directory / "ca.pem",
        certificate_file=settings.server.certificate,
        key_file=settings.server.private_key,
        persistence_location=mosquitto.directory,
        save_every_change=mosquitto.save_every_change,
        autosave_interval=mosquitto.autosave_interval,
        plugin=plugin,
        guard_socket=settings.guard.socket,
        guard_timeout_ms=mosquitto.guard_timeout_ms,
        exchange_timeout_ms=mosquitto.exchange_timeout_ms,
        decisions=mosquitto.decisions,
        user=_user(),
    )


def _user() -> str | None:
    # Started as root, Mosquitto would become another user, who cannot read this folder.
    return pwd.getpwuid(0).pw_name if os.geteuid() == 0 else None

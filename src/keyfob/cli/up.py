# SPDX-License-Identifier: Apache-2.0
"""``keyfob up``: authorization server, guard and a managed Mosquitto on one machine."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from keyfob.brokers.mosquitto.build import build_plugin
from keyfob.brokers.mosquitto.conf import MosquittoSettings, render
from keyfob.cli.demo import demonstrate
from keyfob.cli.installation import (
    DEFAULT_DIRECTORY,
    Directory,
    Installation,
    Ports,
    initialise,
)
from keyfob.cli.supervisor import Child, Supervisor
from keyfob.config import FILE_NAME
from keyfob.errors import ConfigError

__all__ = ["init", "up"]


def init(
    directory: Directory = DEFAULT_DIRECTORY,
    name: Annotated[
        str, typer.Option(help="The host name that devices reach this machine by.")
    ] = "localhost",
    port: Annotated[int, typer.Option(help="The authorization server's port; 0: any free.")] = 8443,
    mqtt_port: Annotated[int, typer.Option(help="Mosquitto's TLS port; 0: any free.")] = 8883,
    plain_port: Annotated[
        int | None, typer.Option(help="A loopback port without TLS; 0: any free.")
    ] = None,
) -> None:
    """Make an installation: configuration, certificates, the guard's credentials."""
    ports = Ports(server=port, mqtt=mqtt_port, plain=plain_port)
    installation = initialise(directory, name=name, ports=ports)
    typer.echo(f"{installation.directory / FILE_NAME} is ready; `keyfob up --dir {directory}`")


def up(
    directory: Directory = DEFAULT_DIRECTORY,
    name: Annotated[
        str, typer.Option(help="The host name that devices reach this machine by.")
    ] = "localhost",
    port: Annotated[int, typer.Option(help="The authorization server's port; 0: any free.")] = 8443,
    mqtt_port: Annotated[int, typer.Option(help="Mosquitto's TLS port; 0: any free.")] = 8883,
    plain_port: Annotated[
        int | None, typer.Option(help="A loopback port without TLS; 0: any free.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Show a device at work, then go on.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="With --demo: stop after it.")] = False,
) -> None:
    """Run everything on this machine until Ctrl-C; a first run makes the installation.

    The ports and the name count for a first run only; later they stand in keyfob.toml.
    """
    ports = Ports(server=port, mqtt=mqtt_port, plain=plain_port)
    installation = initialise(directory, name=name, ports=ports)
    _refuse_taken_ports(installation)
    with asyncio.Runner() as runner:
        runner.run(_run(installation, demo=demo, once=once))


async def _run(installation: Installation, *, demo: bool, once: bool) -> None:
    supervisor = Supervisor(_children(installation), _show)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.request_stop)
    await supervisor.start()
    try:
        _banner(installation)
        if demo:
            await asyncio.to_thread(demonstrate, installation, _show)
        if not once:
            _show("keyfob     | running; Ctrl-C ends it")
            await supervisor.wait()
    finally:
        _show("keyfob     | stopping")
        await supervisor.stop()


def _show(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _banner(installation: Installation) -> None:
    server, mosquitto = installation.settings.server, installation.settings.mosquitto
    host = server.issuer.removeprefix("https://").rsplit(":", 1)[0]
    _show(f"keyfob     | tokens   {server.issuer}/oauth2/token")
    _show(f"keyfob     | broker   mqtts://{host}:{mosquitto.port}")
    if mosquitto.plain_port:
        _show(f"keyfob     |          mqtt://127.0.0.1:{mosquitto.plain_port}")
    _show(f"keyfob     | CA       {installation.directory / 'ca.pem'}")
    _show(f"keyfob     | devices  keyfob device add ID --dir {installation.directory}")


def _children(installation: Installation) -> list[Child]:
    directory = installation.directory
    own = [sys.executable, "-m", "keyfob.cli.main"]
    run = directory / "run"
    return [
        Child(
            name="server",
            command=[*own, "server", "--dir", str(directory)],
            ready_line="ready at ",
            pid_file=run / "server.pid",
        ),
        Child(
            name="guard",
            command=[*own, "guard", "--dir", str(directory)],
            ready_line="ready at ",
            pid_file=run / "guard.pid",
        ),
        Child(
            name="mosquitto",
            command=_mosquitto_command(installation),
            ready_line=" running",
            pid_file=run / "mosquitto.pid",
        ),
    ]


def _mosquitto_command(installation: Installation) -> list[str]:
    settings = installation.settings
    search = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    program = shutil.which(settings.mosquitto.program, path=search)
    if program is None:
        raise ConfigError(
            f"no program {settings.mosquitto.program!r}: install Mosquitto (Debian: apt-get "
            "install mosquitto) or set mosquitto.program in keyfob.toml"
        )
    folder = settings.mosquitto.directory
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    plugin = build_plugin(folder)
    configuration = folder / "mosquitto.conf"
    configuration.write_text(render(_mosquitto_settings(installation, plugin)), encoding="utf-8")
    return [program, "-c", str(configuration)]


def _mosquitto_settings(installation: Installation, plugin: Path) -> MosquittoSettings:
    settings, directory = installation.settings, installation.directory
    mosquitto = settings.mosquitto
    return MosquittoSettings(
        host=mosquitto.host,
        port=mosquitto.port,
        plain_port=mosquitto.plain_port or None,
        ca_file=directory / "ca.pem",
        certificate_file=settings.server.certificate,
        key_file=settings.server.private_key,
        persistence_location=mosquitto.directory,
        save_every_change=mosquitto.save_every_change,
        autosave_interval=mosquitto.autosave_interval,
        plugin=plugin,
        guard_socket=settings.guard.socket,
        guard_timeout_ms=mosquitto.guard_timeout_ms,
        user=_user(),
    )


def _user() -> str | None:
    # Started as root, Mosquitto would become another user, who cannot read this folder.
    return pwd.getpwuid(0).pw_name if os.geteuid() == 0 else None


def _refuse_taken_ports(installation: Installation) -> None:
    server, mosquitto = installation.settings.server, installation.settings.mosquitto
    for key, port in (
        ("server.port", server.port),
        ("mosquitto.port", mosquitto.port),
        ("mosquitto.plain_port", mosquitto.plain_port),
    ):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise ConfigError(
                    f"port {port} is taken by another program: stop that, or change {key} in "
                    f"{installation.settings.path}"
                ) from None

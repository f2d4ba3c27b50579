# SPDX-License-Identifier: Apache-2.0
"""``keyfob init`` and ``keyfob up``: everything on one machine, made and run."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import typer

from keyfob.cli.checking import check
from keyfob.cli.children import children
from keyfob.cli.console import Console
from keyfob.cli.demo import demonstrate
from keyfob.cli.directory_option import DEFAULT_DIRECTORY, Directory
from keyfob.cli.initialising import host_name, initialise, make_folders
from keyfob.cli.installation import Installation
from keyfob.cli.lock import only_one
from keyfob.cli.output import Json, answer, here, print_line
from keyfob.cli.ports import Ports, refuse_taken
from keyfob.cli.renewal import keep_certificates
from keyfob.cli.supervisor import Supervisor
from keyfob.config import FILE_NAME

__all__ = ["init", "up"]

Show = Callable[[str], None]
Name = Annotated[
    str | None,
    typer.Option(
        metavar="HOST", help="The name that devices reach this machine by.  [default: localhost]"
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        metavar="PORT", min=0, max=65535, help="The server's port; 0: any free.  [default: 8443]"
    ),
]
MqttPort = Annotated[
    int | None,
    typer.Option(
        metavar="PORT", min=0, max=65535, help="Mosquitto's TLS port; 0: any free.  [default: 8883]"
    ),
]
PlainPort = Annotated[
    int | None,
    typer.Option(
        metavar="PORT",
        min=0,
        max=65535,
        help="Mosquitto's port without TLS, on the loopback address; 0: any free.  "
        "[default: 1883, or any free one where that is taken]",
    ),
]
AllPorts = Annotated[
    Literal["auto"] | None,
    typer.Option("--ports", metavar="auto", help="Take any free ports, for all three."),
]


def init(
    directory: Directory = DEFAULT_DIRECTORY,
    name: Name = None,
    port: Port = None,
    mqtt_port: MqttPort = None,
    plain_port: PlainPort = None,
    ports: AllPorts = None,
    as_json: Json = False,
) -> None:
    """Make an installation, and start nothing.

    That is a configuration, certificates, and the guard's credentials. One that is there already
    stays as it is; what is missing of it is made.
    """
    is_new = not (directory / FILE_NAME).exists()
    wanted = _ports(port, mqtt_port, plain_port, ports)
    installation = initialise(directory, name=name, ports=wanted)
    file = installation.settings.path
    lines = [f"{here(file)} is {'ready' if is_new else 'there already'}"]
    lines += _ignored(installation, name, wanted)
    lines.append(f"next: keyfob up{installation.option}")
    answer({"configuration": str(file), "made": is_new}, "\n".join(lines), as_json=as_json)


def up(
    directory: Directory = DEFAULT_DIRECTORY,
    name: Name = None,
    port: Port = None,
    mqtt_port: MqttPort = None,
    plain_port: PlainPort = None,
    ports: AllPorts = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Show a device at work, then go on.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Stop when everything was up, and --demo is over.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one line of JSON when ready; everything else to standard error."
        ),
    ] = False,
) -> None:
    """Run everything on this machine until Ctrl-C.

    The first run makes the installation. Ports and name count for that one only; later they stand
    in keyfob.toml.
    """
    wanted = _ports(port, mqtt_port, plain_port, ports)
    name = None if name is None else host_name(name)
    with (
        only_one(make_folders(directory)) as lock,
        Console(sys.stderr if as_json else sys.stdout) as console,
    ):
        installation = initialise(directory, name=name, ports=wanted)
        for line in _ignored(installation, name, wanted):
            console.show(f"keyfob     | {line}")
        check(installation.settings)
        refuse_taken(installation.settings)
        work = _Work(installation, console.show, lock)
        asyncio.run(work.run(demo=demo, once=once, as_json=as_json))


class _Work:
    """One run of ``keyfob up``."""

    def __init__(self, installation: Installation, show: Show, lock: int) -> None:
        self._installation = installation
        self._show = show
        self._supervisor = Supervisor(children(installation), show, inherited=[lock])

    async def run(self, *, demo: bool, once: bool, as_json: bool) -> None:
        """Run until a signal says stop, or the demonstration is over."""
        _on_stop_signals(self._supervisor.request_stop)
        try:
            await self._supervisor.start()
            if not self._supervisor.stopping:
                self._tell_ready(as_json=as_json)
                await self._serve(demo=demo, once=once)
        finally:
            self._show("keyfob     | stopping")
            await self._supervisor.stop()

    async def _serve(self, *, demo: bool, once: bool) -> None:
        stopped = asyncio.create_task(self._supervisor.wait())
        renewing = asyncio.create_task(
            keep_certificates(self._installation, self._supervisor, self._show)
        )
        try:
            if demo:
                await _first(demonstrate(self._installation, self._show), stopped)
            if not once and not stopped.done():
                self._show("keyfob     | running; Ctrl-C ends it")
            if not once or stopped.done():
                await stopped
        finally:
            stopped.cancel()
            renewing.cancel()

    def _tell_ready(self, *, as_json: bool) -> None:
        for line in _banner(self._installation):
            self._show(f"keyfob     | {line}")
        if as_json:
            print_line(json.dumps(_places(self._installation)))


async def _first(work: Coroutine[Any, Any, None], stopped: asyncio.Task[None]) -> None:
    """Do some work, unless and until somebody says stop."""
    task = asyncio.create_task(work)
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        return
    await task


def _on_stop_signals(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    # A terminal that is closed ends it, too; under nohup SIGHUP is ignored, and stays so.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, stop)


def _ports(
    server: int | None, mqtt: int | None, plain: int | None, every: Literal["auto"] | None
) -> Ports:
    usual = 0 if every == "auto" else None
    return Ports(
        server=usual if server is None else server,
        mqtt=usual if mqtt is None else mqtt,
        plain=usual if plain is None else plain,
    )


def _ignored(installation: Installation, name: str | None, wanted: Ports) -> list[str]:
    """Say what was asked for and is not done, because the installation has it otherwise."""
    settings = installation.settings
    asked = (
        ("--name", name and host_name(name), installation.name, "server.issuer"),
        ("--port", wanted.server, settings.server.port, "server.port"),
        ("--mqtt-port", wanted.mqtt, settings.mosquitto.port, "mosquitto.port"),
        ("--plain-port", wanted.plain, settings.mosquitto.plain_port, "mosquitto.plain_port"),
    )
    return [
        f"{option} {value} is not used: change {key} in {here(settings.path)}"
        for option, value, present, key in asked
        if value and value != present
    ]


def _banner(installation: Installation) -> list[str]:
    """Say where everything is, and what to type next."""
    places = _places(installation)
    mosquitto = installation.settings.mosquitto
    ca = here(installation.directory / "ca.pem")
    lines = [
        f"tokens   {places['token_endpoint']}",
        f"broker   mqtts://{installation.name}:{mosquitto.port}",
    ]
    if mosquitto.plain_port:
        lines.append(f"         mqtt://127.0.0.1:{mosquitto.plain_port} (this machine only)")
    example = "device add dev1 --publish 'devices/{device}/#' --subscribe 'devices/{device}/#'"
    form = "-d grant_type=client_credentials -d client_id=dev1 -d client_secret=…"
    return [
        *lines,
        f"CA       {ca}",
        f"next     keyfob {example}{installation.option}",
        f"         curl --cacert {shlex.quote(ca)} {places['token_endpoint']} {form}",
    ]


def _places(installation: Installation) -> dict[str, object]:
    server, mosquitto = installation.settings.server, installation.settings.mosquitto
    plain = {"host": "127.0.0.1", "port": mosquitto.plain_port}
    return {
        "issuer": server.issuer,
        "token_endpoint": f"{server.issuer.rstrip('/')}/oauth2/token",
        "ca": str(installation.directory / "ca.pem"),
        "mqtt": plain if mosquitto.plain_port else None,
        "mqtts": {"host": urlsplit(server.issuer).hostname, "port": mosquitto.port},
    }

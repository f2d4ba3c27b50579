# SPDX-License-Identifier: Apache-2.0
"""One installation: the folder that ``--dir`` names, made by ``keyfob init`` or ``keyfob up``."""

from __future__ import annotations

import datetime
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from keyfob.cli.certificates import ensure_certificates, write_private
from keyfob.config import FILE_NAME, Settings, load
from keyfob.errors import ConfigError
from keyfob.server.register import Register

__all__ = ["Directory", "Installation", "Ports", "initialise", "settings_of"]

Directory = Annotated[
    Path,
    typer.Option(
        "--dir", envvar="KEYFOB_DIR", help="The installation's folder.", show_default=True
    ),
]
DEFAULT_DIRECTORY: Final = Path("keyfob-data")
_GUARD_CLIENT: Final = "keyfob-guard"
_GUARD_SECRET_FILE: Final = "guard.secret"  # noqa: S105 - a file name

_TEMPLATE: Final = """\
# Keyfob on one machine: authorization server, guard and Mosquitto.
# Every key and its default: docs/configuration.md. Paths are relative to this file.

[server]
issuer = "https://{name}:{server_port}"
host = "{host}"
port = {server_port}
audience = "mqtt"
token_lifetime = 3600

[guard]
socket = "run/guard.sock"

# Whose tokens the guard trusts. More [[issuer]] sections may follow.
[[issuer]]
name = "keyfob"
issuer = "https://{name}:{server_port}"
audience = ["mqtt"]
ca = "ca.pem"
revocation_client = "{guard_client}"
revocation_secret = "file:{guard_secret}"

[mosquitto]
host = "{host}"
port = {mqtt_port}
plain_port = {plain_port}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where a new installation listens; 0 picks a free port (``plain``: None opens none)."""

    server: int = 8443
    mqtt: int = 8883
    plain: int | None = None


@dataclass(frozen=True, slots=True)
class Installation:
    """An installation and its settings."""

    directory: Path
    settings: Settings

    def register(self) -> Register:
        """Open the authorization server's register; the caller closes it."""
        server = self.settings.server
        own = [one for one in self.settings.issuers if one.issuer == server.issuer]
        template = own[0].client_id_template if own else "{device}"
        return Register.open(server.database, client_id_template=template)


def settings_of(directory: Path) -> Installation:
    """Open an installation that is there.

    Raises:
        ConfigError: The folder holds none, or its configuration is wrong.
    """
    if not (directory / FILE_NAME).exists():
        raise ConfigError(f"no installation in {directory}: `keyfob init --dir {directory}`")
    return Installation(directory.absolute(), load(directory / FILE_NAME))


def initialise(directory: Path, *, name: str, ports: Ports) -> Installation:
    """Make an installation, or complete one: configuration, certificates, guard's credentials.

    Args:
        directory: The folder; made when missing.
        name: The host name that devices reach this machine by. With ``localhost`` everything
            listens on the loopback address only, else on all addresses.
        ports: Where a new installation listens. An existing one keeps its own.

    Raises:
        ConfigError: The existing configuration is wrong.
    """
    directory = directory.absolute()
    for folder in (directory, directory / "run", directory / "log"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / FILE_NAME
    if not path.exists():
        path.write_text(_configuration(name, ports), encoding="utf-8")
    settings = load(path)
    now = datetime.datetime.now(datetime.UTC)
    ensure_certificates(directory, _names(name), now=now)
    _ensure_guard_client(directory, settings)
    return Installation(directory, settings)


def _configuration(name: str, ports: Ports) -> str:
    if not all(part.isalnum() or part in "-._" for part in name) or not name:
        raise ConfigError(f"{name!r} is not a host name")
    return _TEMPLATE.format(
        name=name,
        host="127.0.0.1" if name == "localhost" else "0.0.0.0",  # noqa: S104 - a named gateway
        server_port=ports.server or _free_port(),
        mqtt_port=ports.mqtt or _free_port(),
        plain_port=_free_port() if ports.plain == 0 else ports.plain or 0,
        guard_client=_GUARD_CLIENT,
        guard_secret=_GUARD_SECRET_FILE,
    )


def _names(name: str) -> list[str]:
    every = (name, "localhost", "127.0.0.1", "::1", socket.gethostname())
    return list(dict.fromkeys(every))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ensure_guard_client(directory: Path, settings: Settings) -> None:
    secret_file = directory / _GUARD_SECRET_FILE
    uses_it = any(issuer.revocation_client == _GUARD_CLIENT for issuer in settings.issuers)
    if secret_file.exists() or not uses_it:
        return
    previous = os.umask(0o077)
    try:
        with Register.open(settings.server.database) as register:
            secret = register.ensure_guard_client(_GUARD_CLIENT)
    finally:
        os.umask(previous)
    write_private(secret_file, secret.encode())

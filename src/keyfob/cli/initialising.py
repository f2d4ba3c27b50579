# SPDX-License-Identifier: Apache-2.0
"""How an installation is made, completed, and given new certificates."""

from __future__ import annotations

import datetime
import ipaddress
import re
import socket
from pathlib import Path
from typing import Final

from keyfob.cli.certificates import ensure_certificates, write_private
from keyfob.cli.installation import Installation
from keyfob.cli.local_registers import open_register
from keyfob.cli.lock import turns
from keyfob.cli.ports import Ports
from keyfob.config import FILE_NAME, IssuerSection, load
from keyfob.errors import ConfigError

__all__ = ["host_name", "initialise", "make_folders", "renew"]

_GUARD_CLIENT: Final = "keyfob-guard"
_GUARD_SECRET_FILE: Final = "guard.secret"  # noqa: S105 - a file name
_GUARD_SECRET: Final = f"file:{_GUARD_SECRET_FILE}"

_HOST_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", re.ASCII)

_TEMPLATE: Final = """\
# Keyfob on one machine: authorization server, guard and Mosquitto.
# Every key and its default: docs/configuration.md. Paths are relative to this file.
# Changes count from the next start; issuers and policies also once the guard gets SIGHUP.

[server]
issuer = "https://{name}:{server_port}"   # what tokens carry as iss; devices ask for tokens here
host = "{host}"
port = {server_port}
audience = "mqtt"                         # what tokens carry as aud
token_lifetime = 3600                     # seconds, where a device has no lifetime of its own

[guard]
socket = "run/guard.sock"                 # where Mosquitto's plugin asks

# Whose tokens the guard trusts. More [[issuer]] sections may follow.
[[issuer]]
name = "keyfob"
issuer = "https://{name}:{server_port}"
audience = ["mqtt"]
rights = ["scopes", "authorization_details"]
ca = "ca.pem"
revocation_client = "{guard_client}"
revocation_secret = "{guard_secret}"

[mosquitto]
host = "{host}"
port = {mqtt_port}                        # MQTT over TLS
plain_port = {plain_port}                 # MQTT without TLS, for this machine only; 0: none
"""


def host_name(text: str) -> str:
    """Return a host name as it stands in an issuer.

    Raises:
        ConfigError: It is none.
    """
    if not _HOST_NAME.fullmatch(text):
        raise ConfigError(f"{text!r} is not a host name such as broker.example.com")
    return text.lower()


def make_folders(directory: Path) -> Path:
    """Make the folders of an installation where they are missing; return the whole path."""
    directory = directory.absolute()
    for folder in (directory, directory / "run", directory / "log"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def initialise(directory: Path, *, name: str | None = None, ports: Ports) -> Installation:
    """Make an installation, or complete one: configuration, certificates, guard's credentials.

    Args:
        directory: The folder; made when missing.
        name: The host name that devices reach this machine by; None: ``localhost``, where
            everything listens on the loopback address only. An existing installation keeps its
            own.
        ports: Where a new installation listens. An existing one keeps its own.

    Raises:
        ConfigError: The name is none, or the existing configuration is wrong.
    """
    name = host_name("localhost" if name is None else name)
    directory = make_folders(directory)
    with turns(directory):
        path = directory / FILE_NAME
        if not path.exists():
            write_private(path, _configuration(name, ports).encode())
        installation = Installation(directory, load(path))
        renew(installation)
        _ensure_guard_client(installation)
    return installation


def renew(installation: Installation) -> list[str]:
    """Make certificates that are missing or about to end; return the files that were written."""
    every = (installation.name, "localhost", "127.0.0.1", "::1", socket.gethostname())
    names = [name for name in dict.fromkeys(every) if _is_certifiable(name)]
    return ensure_certificates(
        installation.directory, names, now=datetime.datetime.now(datetime.UTC)
    )


def _configuration(name: str, ports: Ports) -> str:
    server_port, mqtt_port, plain_port = ports.chosen()
    return _TEMPLATE.format(
        name=name,
        host="127.0.0.1" if name == "localhost" else "0.0.0.0",  # noqa: S104 - a named gateway
        server_port=server_port,
        mqtt_port=mqtt_port,
        plain_port=plain_port,
        guard_client=_GUARD_CLIENT,
        guard_secret=_GUARD_SECRET,
    )


def _ensure_guard_client(installation: Installation) -> None:
    if not any(_is_ours(issuer) for issuer in installation.settings.issuers):
        return
    file = installation.directory / _GUARD_SECRET_FILE
    with open_register(installation) as register:
        registered = any(one.id == _GUARD_CLIENT for one in register.list_guard_clients())
        if not (registered and file.exists()):
            secret = register.ensure_guard_client(_GUARD_CLIENT)
            write_private(file, secret.encode())


def _is_ours(issuer: IssuerSection) -> bool:
    """Tell whether the guard reads an issuer's revocations with what is made here."""
    made = (_GUARD_CLIENT, _GUARD_SECRET)
    return (issuer.revocation_client, issuer.revocation_secret) == made


def _is_certifiable(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return _HOST_NAME.fullmatch(name) is not None
    return True

# SPDX-License-Identifier: Apache-2.0
"""Profiles: who this user is, at which authorization server and which broker; no secret among it.

They stand in ``profiles.toml`` in ``$XDG_CONFIG_HOME/keyfob`` (or ``~/.config/keyfob``); the token
of each lies beside it in a file of its own, which only its owner reads (``FileStore``).
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

from keyfob.device import FileStore
from keyfob.errors import ConfigError, NotFoundError

__all__ = [
    "GrantName",
    "Profile",
    "check_name",
    "profiles_folder",
    "read_profile",
    "store_of",
    "write_profile",
]

GrantName = Literal["device_code", "client_credentials", "password"]
"""How a profile's first token is asked for."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks whom for what, and which broker is shown what comes of it.

    Files are relative to the folder of ``profiles.toml``; a secret is only ever a reference to
    where it is kept, ``file:PATH`` or ``env:NAME``.

    Attributes:
        issuer: The issuer identifier.
        client_id: The client, as it is registered there.
        grant: How the first token is asked for.
        device: Whose token it is: for the device code grant ``login_hint``, and empty where the
            approver says it; for the password grant the username. Else the client is the device.
        scope: As RFC 6749 section 3.3 writes it, or empty.
        audience: For servers that have such a parameter, or empty.
        resource: RFC 8707, or empty.
        ca: A file of certificates that alone are trusted; empty: the system's.
        client_secret: A reference to the client's secret; empty: it has none.
        password: A reference to the device's secret, for the password grant.
        private_key: A file with the client's key, as PEM (``private_key_jwt``).
        certificate: A file with the client's certificate and key, as PEM (RFC 8705).
        broker: Where the broker is: ``mqtt://``, ``mqtts://``, ``ws://`` or ``wss://``.
        carry: Where a CONNECT carries the token, as ``keyfob.device.carrying.Carry`` reads it;
            empty: the password.
        username: MQTT's username, beside a token that goes elsewhere.
        client_identifier: MQTT's client identifier; empty: the device.
        broker_ca: A file of certificates that alone are trusted at the broker; empty: the system's.
        broker_certificate: A file with the certificate to show the broker.
        broker_key: A file with its key; empty: the key stands in the same file.
    """

    issuer: str
    client_id: str
    grant: GrantName = "device_code"
    device: str = ""
    scope: str = ""
    audience: str = ""
    resource: str = ""
    ca: str = ""
    client_secret: str = ""
    password: str = ""
    private_key: str = ""
    certificate: str = ""
    broker: str = ""
    carry: str = ""
    username: str = ""
    client_identifier: str = ""
    broker_ca: str = ""
    broker_certificate: str = ""
    broker_key: str = ""

    @property
    def device_name(self) -> str:
        """Whose token it is; empty: only whoever approves it knows."""
        return self.device if self.device or self.grant == "device_code" else self.client_id


def check_name(name: str) -> str:
    """Return the name of a profile, which is part of a file's name.

    Raises:
        ConfigError: It is none.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError("a profile's name has letters, digits, _ . and -, at most 64")
    return name


def read_profile(name: str) -> Profile:
    """Return a profile.

    Raises:
        NotFoundError: There is none of this name.
        ConfigError: The file is unusable.
    """
    profiles = _read()
    if check_name(name) not in profiles:
        raise NotFoundError(f"no profile {name}: make it with keyfob login --profile {name}")
    return profiles[name]


def write_profile(name: str, profile: Profile) -> None:
    """Add a profile, or replace that of this name.

    Raises:
        ConfigError: The name is none, or the file that is there is unusable.
    """
    profiles = {**_read(), check_name(name): profile}
    folder = profiles_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes it 0600, whatever the umask is.
    handle, made = tempfile.mkstemp(prefix=".profiles.", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("\n".join(map(_table, profiles, profiles.values())))
        Path(made).replace(folder / "profiles.toml")
    except BaseException:
        with suppress(OSError):
            Path(made).unlink()
        raise


def store_of(name: str) -> FileStore:
    """Return where a profile's token is kept."""
    return FileStore(profiles_folder() / f"{check_name(name)}.token")


def profiles_folder() -> Path:
    """Return where profiles and their tokens are kept; it need not be there."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base else Path.home() / ".config") / "keyfob"


def _read() -> dict[str, Profile]:
    path = profiles_folder() / "profiles.toml"
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, Profile])
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _table(name: str, profile: Profile) -> str:
    usual = {one.name: one.default for one in msgspec.structs.fields(Profile)}
    values = {
        key: str(text)
        for key, text in msgspec.structs.asdict(profile).items()
        if text != usual[key]
    }
    for key, text in values.items():
        if not text.isprintable():  # then a JSON string is one of TOML, too
            raise ConfigError(f"{key} of profile {name} has control characters")
    lines = [f"{key} = {json.dumps(text, ensure_ascii=False)}\n" for key, text in values.items()]
    return f'["{name}"]\n' + "".join(lines)

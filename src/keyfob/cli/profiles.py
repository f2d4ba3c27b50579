# SPDX-License-Identifier: Apache-2.0
"""Profiles: who this user is at which authorization server, by a name; no secret among it.

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
from typing import Final

import msgspec

from keyfob.device import DeviceCode, FileStore, Invitation, PublicClient, TokenSource
from keyfob.errors import ConfigError, NotFoundError, TokenRequestError

__all__ = ["Profile", "check_name", "profile_source", "read_profile", "store_of", "write_profile"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks whom for what.

    Attributes:
        issuer: The issuer identifier.
        client_id: The program, as it is registered for the device code grant.
        device: Which device is to be approved (``login_hint``); empty: the approver says it.
        scope: As RFC 6749 section 3.3 writes it, or empty.
        ca: A file of certificates that alone are trusted; empty: the system's.
    """

    issuer: str
    client_id: str
    device: str = ""
    scope: str = ""
    ca: str = ""


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
    folder = _folder()
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
    return FileStore(_folder() / f"{check_name(name)}.token")


def profile_source(name: str) -> TokenSource:
    """Return what renews a profile's token, without a person.

    Raises:
        NotFoundError: There is no such profile, or nobody has logged in.
    """
    profile = read_profile(name)
    again = f"nobody is logged in: keyfob login --profile {name}"

    def nobody(_: Invitation) -> None:
        raise TokenRequestError(again, error="invalid_grant")

    source = TokenSource(
        profile.issuer,
        auth=PublicClient(client_id=profile.client_id),
        grant=DeviceCode(prompt=nobody),
        scope=profile.scope,
        ca=profile.ca or None,
        store=store_of(name),
    )
    if source.token is None:
        raise NotFoundError(again)
    return source


def _folder() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base else Path.home() / ".config") / "keyfob"


def _read() -> dict[str, Profile]:
    path = _folder() / "profiles.toml"
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, Profile])
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _table(name: str, profile: Profile) -> str:
    values = {key: text for key, text in msgspec.structs.asdict(profile).items() if text}
    for key, text in values.items():
        if not text.isprintable():  # then a JSON string is one of TOML, too
            raise ConfigError(f"{key} of profile {name} has control characters")
    lines = [f"{key} = {json.dumps(text, ensure_ascii=False)}\n" for key, text in values.items()]
    return f'["{name}"]\n' + "".join(lines)

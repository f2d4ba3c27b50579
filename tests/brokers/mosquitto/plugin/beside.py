# SPDX-License-Identifier: Apache-2.0
"""Other ways into a Mosquitto, beside the plugin: each lets ``mower`` in, on ``lawn/#`` alone.

``mower`` has a password; so has ``token``, whose password looks like a token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Final, Literal, get_args

__all__ = [
    "BESIDES",
    "JWT",
    "PASSWORD",
    "Beside",
    "acl_file",
    "dynamic_security",
    "library_of",
    "lines_for",
    "password_file",
]

Beside = Literal["password_file", "dynamic-security", "another plugin"]
BESIDES: Final[tuple[Beside, ...]] = get_args(Beside)

PASSWORD: Final = "grass"
JWT: Final = "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl"
"""What looks like a token; the fake guard says whether it is a good one."""

_USERS: Final = {"mower": PASSWORD, "token": JWT}
_ACL: Final = "".join(f"user {name}\ntopic readwrite lawn/#\n" for name in _USERS)


def lines_for(beside: Beside, directory: Path, program: str) -> tuple[str, ...]:
    """Return the lines of mosquitto.conf; they belong behind those of the plugin."""
    if beside == "password_file":
        return (*password_file(directory), acl_file(directory, _ACL))
    if beside == "dynamic-security":
        return dynamic_security(directory, program)
    return (f"plugin {_another_plugin(directory)}",)


def password_file(directory: Path) -> tuple[str, ...]:
    """Return the line for a file with the two users."""
    file = directory / "passwords"
    file.touch(0o600)
    for name, password in _USERS.items():
        subprocess.run(["mosquitto_passwd", "-b", file, name, password], check=True)
    return (f"password_file {file}",)


def acl_file(directory: Path, text: str) -> str:
    """Return the line for a file with these rules."""
    acl = directory / "acl"
    acl.write_text(text)
    acl.chmod(0o600)
    return f"acl_file {acl}"


def dynamic_security(directory: Path, program: str) -> tuple[str, ...]:
    """Return the lines for Mosquitto's own plugin, with the two users and ``admin``."""
    file = directory / "dynamic-security.json"
    kinds = ("publishClientSend", "publishClientReceive", "subscribePattern", "unsubscribePattern")
    own = [{"acltype": kind, "topic": "lawn/#", "allow": True} for kind in kinds]
    everything = [{"acltype": kind, "topic": "$CONTROL/#", "allow": True} for kind in kinds]
    roles = [{"rolename": "own", "acls": own}, {"rolename": "admin", "acls": everything}]
    clients = [_client(name, password, "own") for name, password in _USERS.items()]
    clients.append(_client("admin", PASSWORD, "admin"))
    access = dict.fromkeys(
        ("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe"), False
    )
    file.write_text(json.dumps({"defaultACLAccess": access, "clients": clients, "roles": roles}))
    file.chmod(0o600)
    library = library_of(program, "mosquitto_dynamic_security.so")
    return (f"plugin {library}", f"plugin_opt_config_file {file}")


def _client(name: str, password: str, role: str) -> dict[str, object]:
    salt, iterations = os.urandom(12), 101
    hashed = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
    return {
        "username": name,
        "password": base64.b64encode(hashed).decode(),
        "salt": base64.b64encode(salt).decode(),
        "iterations": iterations,
        "roles": [{"rolename": role}],
    }


def library_of(program: str, name: str) -> Path:
    """Return a plugin of the same Debian package as the program."""
    beside = Path(program).resolve().parent / "root"
    root = beside if beside.is_dir() else Path("/")
    found = sorted([*root.glob(f"usr/lib/*/{name}"), *root.glob(f"usr/lib/*/mosquitto/{name}")])
    assert found, f"no {name} below {root}"
    return found[0]


def _another_plugin(directory: Path) -> Path:
    library = directory / "another.so"
    source = Path(__file__).with_name("another_plugin.c")
    command = [os.environ.get("CC", "cc"), "-fPIC", "-shared", "-std=c11", "-Wall", "-Wextra"]
    plugin = Path(__file__).parents[4] / "src" / "keyfob" / "brokers" / "mosquitto" / "plugin"
    command += ["-Werror", f"-I{plugin}", f'-DTOKEN="{JWT}"', f'-DPASSWORD="{PASSWORD}"']
    subprocess.run([*command, str(source), "-o", str(library)], check=True)
    return library

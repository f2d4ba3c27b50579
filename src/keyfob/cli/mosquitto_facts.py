# SPDX-License-Identifier: Apache-2.0
"""What ``keyfob mosquitto doctor`` looks at: the configuration, the machine, the guard's socket."""

from __future__ import annotations

import os
import platform
import pwd
import re
import shutil
import socket
import stat
import subprocess
from pathlib import Path
from typing import Final

from keyfob.brokers.mosquitto.build import own_mark, read_mark
from keyfob.brokers.mosquitto.doctor.broker_conf import BrokerConf, Plugin, interpret
from keyfob.brokers.mosquitto.doctor.conf_lines import Line, read_lines
from keyfob.brokers.mosquitto.doctor.facts import (
    Facts,
    GuardFacts,
    Node,
    PluginFile,
    SocketFacts,
    User,
    Way,
)
from keyfob.brokers.mosquitto.unix_socket import peer_user
from keyfob.cli.installation import settings_of
from keyfob.config import FILE_NAME

__all__ = ["broker_program", "broker_version", "collect", "conf_lines", "guard_facts", "read_conf"]

_VERSION: Final = re.compile(r"mosquitto version (\d+)\.(\d+)\.(\d+)")
_MACHINES: Final = {"x86_64": 62, "aarch64": 183, "armv7l": 40, "armv6l": 40, "i686": 3}
"""e_machine in elf(5), by what uname says; others are not compared."""


def read_conf(file: Path) -> BrokerConf:
    """Read a mosquitto.conf and what it includes.

    Raises:
        OSError: A file or a folder cannot be read.
    """
    return interpret(file, conf_lines(file))


def conf_lines(file: Path) -> list[Line]:
    """Return the options of a mosquitto.conf and of what it includes.

    Raises:
        OSError: A file or a folder cannot be read.
    """
    return list(read_lines(file, _read, os.listdir))


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def broker_program(name: str) -> str | None:
    """Find a broker's program by its name or path; Debian's is in /usr/sbin."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def broker_version(name: str) -> tuple[int, int, int] | None:
    """Ask a broker's program for its version; None: there is none, or it says none."""
    program = broker_program(name)
    if program is None:
        return None
    try:
        said = subprocess.run(
            [program, "-h"],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(said.stdout)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def collect(conf: BrokerConf, broker: str, user: str, directory: Path) -> Facts:
    """Look at everything that the checks ask about.

    Args:
        conf: The configuration.
        broker: The broker's program.
        user: Whom it runs as; empty: whom the configuration names.
        directory: The guard's folder.

    Raises:
        ConfigError: There is a keyfob.toml, and it is wrong.
    """
    ours = [plugin for plugin in conf.every_plugin if plugin.is_keyfob]
    plugin = ours[0] if ours else None
    guard = guard_facts(directory)
    place = _option(plugin, "guard_socket")
    names = [name for name in re.split("[, ]+", _option(plugin, "guard_users")) if name]
    users = {name: _user(name) for name in names}
    own = own_mark()
    return Facts(
        version=broker_version(broker),
        broker_user=_user(user or conf.user),
        plugin=_plugin(plugin.path) if plugin else None,
        socket=_socket(Path(place)) if place.startswith("/") else None,
        guard=guard,
        guard_users=frozenset(user.uid for user in users.values() if user),
        missing_users=tuple(name for name, user in users.items() if user is None),
        wire=own.wire,
        sources=own.sources,
    )


def guard_facts(directory: Path) -> GuardFacts | None:
    """Return what keyfob.toml says of the guard; None: there is no such file to be read.

    Raises:
        ConfigError: It is wrong.
    """
    conf = directory.absolute() / FILE_NAME
    if not os.access(conf, os.R_OK):
        return None
    guard = settings_of(directory).settings.guard
    owner = _user_of(conf.stat().st_uid).name
    return GuardFacts(conf, owner, guard.socket, guard.socket_users, guard.socket_group)


def _option(plugin: Plugin | None, name: str) -> str:
    return plugin.options[name][0] if plugin and name in plugin.options else ""


def _user(name: str) -> User | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return User(name, entry.pw_uid, frozenset(os.getgrouplist(name, entry.pw_gid)))


def _user_of(number: int) -> User:
    try:
        return _user(pwd.getpwuid(number).pw_name) or User(str(number), number, frozenset())
    except KeyError:
        return User(str(number), number, frozenset())


def _way(path: Path) -> tuple[Way, bool]:
    """Follow a path from the root as far as it goes; True: to its end."""
    nodes: list[Node] = []
    for one in [*reversed(path.parents), path]:
        try:
            status = one.stat()
        except OSError:
            return tuple(nodes), False
        nodes.append(Node(one, status.st_mode, status.st_uid, status.st_gid))
    return tuple(nodes), True


def _plugin(path: Path) -> PluginFile:
    way, exists = _way(path)
    try:
        content = path.read_bytes() if exists else b""
    except OSError:
        content = b""
    mark = read_mark(content)
    machine = _MACHINES.get(platform.machine())
    fits = machine is None or int.from_bytes(content[18:20], "little") == machine
    return PluginFile(
        path,
        way,
        exists,
        is_plugin=content.startswith(b"\x7fELF") and b"mosquitto_plugin_init" in content,
        machine_fits=fits,
        wire=mark.wire if mark else None,
        sources=mark.sources if mark else "",
        replaced_under=_with_deleted(path) if exists else (),
    )


def _with_deleted(path: Path) -> tuple[int, ...]:
    """Return the processes that have a file loaded that was replaced since (proc(5), maps)."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            maps = (folder / "maps").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it has ended, or is not ours to look at
        if f" {path} (deleted)\n" in maps:
            found.append(int(folder.name))
    return tuple(sorted(found))


def _socket(path: Path) -> SocketFacts:
    way, exists = _way(path)
    if not exists or not stat.S_ISSOCK(way[-1].mode):
        return SocketFacts(path, way, exists=False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except PermissionError:
            return SocketFacts(path, way, exists, "forbidden", _user_of(way[-1].uid))
        except OSError:
            return SocketFacts(path, way, exists, "refused", _user_of(way[-1].uid))
        return SocketFacts(path, way, exists, "answers", _user_of(peer_user(probe)))

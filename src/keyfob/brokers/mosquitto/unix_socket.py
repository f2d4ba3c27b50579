# SPDX-License-Identifier: Apache-2.0
"""A Unix socket that only the right processes reach, and that tells which process came.

A socket is not trusted because it is local: whoever can write to its directory can put another
one in its place, so the directory is checked before the socket is made; and whoever connects is
known by what the kernel says of it, not by what it says itself.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import socket
import stat
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from keyfob.errors import ConfigError

__all__ = ["UnixListener", "peer_user", "user_ids"]

_LONGEST_PATH: Final = 107  # sun_path in unix(7), without its closing NUL
_BACKLOG: Final = 16
_CREDENTIALS: Final = struct.Struct("3i")  # struct ucred: pid, uid, gid


class _HasOptions(Protocol):
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


class UnixListener:
    """A socket that listens at a path; only our own user may connect, and a group if one is named.

    A socket that nobody answers at any more, left by a process that was killed, is replaced.

    Args:
        path: Where to listen.
        group: The name of a group whose members may connect, too.

    Raises:
        ConfigError: The directory is not ours or is open to everybody, somebody else listens at
            the path, or something that is not a socket is there.
    """

    def __init__(self, path: Path, *, group: str | None = None) -> None:
        if len(os.fsencode(path)) > _LONGEST_PATH:
            raise ConfigError(f"the socket's path {path} is longer than {_LONGEST_PATH} bytes")
        group_id = None if group is None else _group_id(group)
        _check_directory(path.parent)
        _clear(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._path = path
        try:
            _bind(self.socket, path)
            self._identity = _identity(path)
            if group_id is not None:
                os.chown(path, -1, group_id)
                path.chmod(0o660)
            self.socket.listen(_BACKLOG)
            self.socket.setblocking(False)
        except OSError as error:
            self.socket.close()
            raise ConfigError(f"cannot listen at {path}: {error.strerror}") from error

    def close(self) -> None:
        """Stop listening; remove the socket's file, but none that came into its place."""
        self.socket.close()
        with contextlib.suppress(FileNotFoundError):
            if _identity(self._path) == self._identity:
                self._path.unlink()


def peer_user(connection: _HasOptions) -> int:
    """The user that the other process ran as when it connected (SO_PEERCRED in unix(7))."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(raw)[1]
    return user


def user_ids(names: Iterable[str]) -> frozenset[int]:
    """The numbers of users that must exist.

    Raises:
        ConfigError: There is no such user.
    """
    found = set()
    for name in names:
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            raise ConfigError(f"there is no user {name!r} on this machine") from None
    return frozenset(found)


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_dev, status.st_ino


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ConfigError(f"there is no group {name!r} on this machine") from None


def _check_directory(directory: Path) -> None:
    try:
        status = directory.stat()
    except FileNotFoundError:
        raise ConfigError(
            f"the socket's directory {directory} is not there: make it, for the guard's user alone "
            "or with a group for the broker's (docs/configuration.md)"
        ) from None
    except OSError as error:
        raise ConfigError(f"the socket's directory {directory}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"the socket's directory {directory} is not a directory")
    if status.st_uid not in {os.geteuid(), 0}:
        raise ConfigError(
            f"the socket's directory {directory} belongs to another user: whoever owns it could "
            "put another socket in its place. Choose a directory that belongs to the guard's user"
        )
    if status.st_mode & stat.S_IWOTH:
        raise ConfigError(
            f"everybody may write to the socket's directory {directory}: anybody could put another "
            f"socket in its place. Run chmod o-w {directory}, or choose another directory"
        )


def _clear(path: Path) -> None:
    """Remove a socket that nobody answers at; refuse everything else that is at ``path``."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{path} is there and is not a socket: remove it, or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        error = probe.connect_ex(str(path))
    if error != errno.ECONNREFUSED:
        raise ConfigError(f"another process listens at {path}: stop it, or choose another path")
    path.unlink(missing_ok=True)


def _bind(server: socket.socket, path: Path) -> None:
    before = os.umask(0o177)  # the file is never open to others, not even for a moment
    try:
        server.bind(str(path))
    finally:
        os.umask(before)

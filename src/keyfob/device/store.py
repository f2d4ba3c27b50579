# SPDX-License-Identifier: Apache-2.0
"""Where a device keeps its token between two runs, and between two processes."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from keyfob.device.forks import after_fork
from keyfob.device.kept import MAX_KEPT, decode_token, encode_token
from keyfob.device.token import Token
from keyfob.device.turns import FileTurn, ThreadTurn, Turn
from keyfob.errors import ConfigError

__all__ = ["FileStore", "MemoryStore", "TokenStore", "Turn"]

_log = logging.getLogger("keyfob.device")


class TokenStore(Protocol):
    """Keeps one token, of one source: one client of one server, with one wish."""

    def load(self) -> Token | None:
        """Return what is kept; None: nothing that can be used.

        Raises:
            OSError: It cannot be read.
        """

    def save(self, token: Token) -> None:
        """Keep a token; it lasts when this returns.

        Raises:
            OSError: It cannot be written.
        """

    def turn(self) -> Turn:
        """Return this store's turn; one for each that wants to renew."""


class MemoryStore:
    """Keeps the token for as long as the process runs."""

    def __init__(self) -> None:
        self._token: Token | None = None
        self._lock = threading.Lock()
        after_fork(self)

    def load(self) -> Token | None:
        """Return the token, if there is one."""
        return self._token

    def save(self, token: Token) -> None:
        """Keep the token."""
        self._token = token

    def turn(self) -> Turn:
        """Return the turn of those who share this object."""
        return ThreadTurn(self._lock)

    def forked(self) -> None:
        """Be free again in the child: whoever had the turn is not there."""
        self._lock = threading.Lock()


class FileStore:
    """Keeps the token in a file that only its owner reads, replaced as a whole and synced.

    What somebody else put there, or may have, is no token of this device: it would have the device
    appear as another one. Such a file is not used, and the next token replaces it.

    Args:
        path: Where. Its folder has to be there; beside it lies a file of the same name and
            ``.lock``. What else is in the file is replaced by the next token.

    Raises:
        ConfigError: The folder is not there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        if not self._path.parent.is_dir():
            raise ConfigError(f"{self._path.parent}: no such folder; make it, with mode 0700")

    def load(self) -> Token | None:
        """Read the file; what is no token of ours counts as nothing.

        Raises:
            OSError: It cannot be read.
        """
        try:
            # Not blocking: what is in the way may be a pipe.
            handle = os.open(self._path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except FileNotFoundError:
            return None
        try:
            if fault := _fault(os.fstat(handle), self._path.parent):
                _log.warning("%s: %s; the next token replaces it", self._path, fault)
                return None
            with os.fdopen(handle, "rb", closefd=False) as file:
                data = file.read(MAX_KEPT)
        finally:
            os.close(handle)
        token = self._decoded(data)
        if token is None:
            _log.warning("%s: no token that can be read; the next one replaces it", self._path)
        return token

    def save(self, token: Token) -> None:
        """Write the file.

        Raises:
            OSError: It cannot be written; the old one is still there.
        """
        handle, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, 0o600)  # a umask can take from mkstemp's 0600, too
                file.write(self._encoded(token))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
        self._sweep()
        _sync_folder(self._path.parent)

    def turn(self) -> Turn:
        """Return the turn of all processes that use this file."""
        return FileTurn(self._path.with_name(f"{self._path.name}.lock"))

    def _encoded(self, token: Token) -> bytes:
        return encode_token(token)

    def _decoded(self, data: bytes) -> Token | None:
        return decode_token(data)

    def _sweep(self) -> None:
        """Remove what processes left that were killed while they wrote: there is a token in it."""
        prefix = f".{self._path.name}."
        for left in self._path.parent.iterdir():
            # mkstemp's eight characters; whoever saves has the turn, so nobody is at it now.
            if left.name.startswith(prefix) and len(left.name) == len(prefix) + 8:
                with suppress(OSError):
                    left.unlink()


def _fault(found: os.stat_result, folder: Path) -> str:
    """Tell why a file is not trusted; empty: it is."""
    if not stat.S_ISREG(found.st_mode):
        return "not an ordinary file"
    if not hasattr(os, "geteuid"):
        return ""
    # Who owns the folder can put there what he likes, and so can root.
    if found.st_uid not in {os.geteuid(), 0, folder.stat().st_uid}:
        return "somebody else's file, so not used"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others may write it, so it is not used"
    return ""


def _sync_folder(path: Path) -> None:
    with suppress(OSError):  # not every system lets folders be opened
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
